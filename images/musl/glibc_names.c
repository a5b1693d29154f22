/*
 * The names of glibc that the parts of Debian's libstdc++.a which work on musl still ask for.
 *
 * All are hidden: each object that needs them has its own, and exports none.
 */
#include <pthread.h>
#include <stdlib.h>

#define HIDDEN __attribute__((visibility("hidden")))

/* glibc tells here whether other threads were ever started. "No" costs an atomic instruction and is always right. */
HIDDEN char __libc_single_threaded = 0;

/* strtoul of C23, which also reads "0b": glibc's headers put this name for `strtoul`. Used to read a number from
 * the environment. */
HIDDEN unsigned long __isoc23_strtoul(const char *text, char **end, int base)
{
	return strtoul(text, end, base);
}

/*
 * Destructors of thread_local objects: as libstdc++ has it for systems without this function (atexit_thread.cc), a
 * list for each thread that a thread-specific key's destructor runs. musl never unmaps a library, so the functions
 * are there for as long as a thread may end.
 */
struct element {
	void (*destructor)(void *);
	void *object;
	struct element *next;
};

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local struct element *elements;

static void run(void *unused)
{
	(void)unused;
	while (elements) {
		struct element *element = elements;
		elements = element->next;
		element->destructor(element->object);
		free(element);
	}
}

/* The main thread ends with exit(), which runs no key's destructor. */
static void run_at_exit(void)
{
	run(NULL);
}

static void start(void)
{
	if (pthread_key_create(&key, run) != 0)
		abort();
	atexit(run_at_exit);
}

HIDDEN int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *library)
{
	struct element *element = malloc(sizeof *element);

	(void)library;
	if (element == NULL)
		return -1;
	pthread_once(&once, start);
	/* Any value that is not NULL makes the key's destructor run when this thread ends. */
	if (elements == NULL && pthread_setspecific(key, &once) != 0) {
		free(element);
		return -1;
	}
	element->destructor = destructor;
	element->object = object;
	element->next = elements;
	elements = element;
	return 0;
}
