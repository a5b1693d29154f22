// What the recipe of the musl build image says of C++.

#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static std::mutex mutex;
static std::condition_variable condition;
static std::atomic<int> destroyed{0};

// Destroyed when its thread ends.
struct Witness {
	~Witness() { destroyed++; }
};

static const std::string &text()
{
	static const std::string text = "made once";
	return text;
}

extern "C" int run(int argument)
{
	int sum = 0;

	std::map<std::string, std::vector<int>> numbers;
	numbers["a"].push_back(argument);
	auto shared = std::make_shared<std::string>("a string that is too long to be kept in place");
	try {
		if (argument)
			throw std::runtime_error(*shared + std::to_string(argument));
		numbers.at("b");
	} catch (const std::out_of_range &) {
		sum += 1;
	} catch (const std::exception &error) {
		sum += 2 + (std::string(error.what()) == *shared + "1" ? 0 : 1000);
	}

	bool ready = false;
	destroyed = 0;
	std::thread thread([&] {
		thread_local Witness witness;
		(void)witness;
		try {
			std::lock_guard<std::mutex> lock(mutex);
			ready = true;
			condition.notify_all();
			throw std::logic_error("in another thread");
		} catch (const std::logic_error &) {
			sum += 10;
		}
	});
	{
		std::unique_lock<std::mutex> lock(mutex);
		if (!condition.wait_for(lock, std::chrono::seconds(30), [&] { return ready; }))
			sum += 1000;
	}
	thread.join();
	sum += 100 * destroyed;

	auto later = std::async(std::launch::async, [&]() -> int {
		if (argument)
			throw std::runtime_error("through a future");
		return 1;
	});
	try {
		later.get();
	} catch (const std::runtime_error &) {
		sum += 200;
	}

	char digits[32];
	auto end = std::to_chars(digits, digits + sizeof digits, 3.25).ptr;
	if (std::string(digits, end) != "3.25" || std::stod("2.5") != 2.5 || std::stoi("3") != 3)
		sum += 1000;
	if (std::mt19937(1)() != 1791095845u || text() != "made once")
		sum += 1000;
	return sum;
}
