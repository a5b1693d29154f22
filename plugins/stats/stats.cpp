// stats: counts a name's words, letters and vowels. Only ASCII letters count; bytes of other characters are passed over.
//
// It uses what the C++ library has in its headers and nothing of what it has in libstdc++.so, and throws nothing. So the
// same source links with a compiler that has no libstdc++ for its libc (g++ with musl's specs), and the finished plugin
// needs libc alone. `nm -D --undefined-only stats.so` shows it.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

#include "greeter.h"

namespace {

constexpr bool is_letter(char c) noexcept
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

constexpr bool is_vowel(char c) noexcept
{
    return std::string_view{"aeiouAEIOU"}.find(c) != std::string_view::npos;
}

constexpr std::size_t words(std::string_view text) noexcept
{
    std::size_t count = 0;
    char before = ' ';
    for (char c : text) {
        count += c != ' ' && before == ' ';
        before = c;
    }
    return count;
}

// How many characters have a property. The property is a template argument: no call through a pointer is left.
template <bool (*property)(char) noexcept>
constexpr std::size_t count(std::string_view text) noexcept
{
    std::size_t count = 0;
    for (char c : text)
        count += property(c);
    return count;
}

static_assert(words(" Ada  Lovelace ") == 2);
static_assert(count<is_letter>("Ada Lovelace") == 11);
static_assert(count<is_vowel>("Ada Lovelace") == 6);

// Text of limited length, built up in place. What does not fit is left out.
class Line {
public:
    Line &operator<<(std::string_view text) noexcept
    {
        const auto fits = std::min(text.size(), buffer_.size() - size_);
        std::copy_n(text.begin(), fits, buffer_.begin() + size_);
        size_ += fits;
        return *this;
    }

    Line &operator<<(std::size_t number) noexcept
    {
        const auto [end, error] = std::to_chars(buffer_.data() + size_, buffer_.data() + buffer_.size(), number);
        if (error == std::errc{})
            size_ = static_cast<std::size_t>(end - buffer_.data());
        return *this;
    }

    std::string_view text() const noexcept { return {buffer_.data(), size_}; }

private:
    std::array<char, 120> buffer_{}; // room for the words below and three 64-bit numbers of 20 digits
    std::size_t size_ = 0;
};

// The one place that knows how memory handed to the host is made and unmade.
struct Free {
    void operator()(char *text) const noexcept { std::free(text); }
};
using CString = std::unique_ptr<char[], Free>;

CString to_c(std::string_view text) noexcept
{
    CString copy{static_cast<char *>(std::malloc(text.size() + 1))};
    if (copy)
        *std::copy(text.begin(), text.end(), copy.get()) = '\0';
    return copy;
}

} // namespace

const char *plugin_name()
{
    return "stats";
}

char *plugin_greet(const char *name)
{
    const std::string_view text{name};
    Line line;
    line << words(text) << " words, " << count<is_letter>(text) << " letters, " << count<is_vowel>(text) << " vowels";
    return to_c(line.text()).release();
}

void plugin_free(char *greeting)
{
    CString{greeting}; // takes it back, and with it the duty to free it
}
