/* The host of the cases: opens plugins in order, then looks up and calls what the contract names, and says on standard
 * output what it is doing before it does it, so that a crash has a place.
 *
 *     host now|lazy local|global SYMBOL[,SYMBOL…] PLUGIN…
 *
 * Each plugin is called in a process of its own: a crash in one says nothing of the next. Nothing here is buffered. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PLUGINS_LIMIT = 32, CALL_TIMEOUT_SECONDS = 5 };

static void say(const char *what, int plugin, const char *symbol, const char *text) {
    char line[4096];
    int length = snprintf(line, sizeof line, "@ %s %d %s %s", what, plugin, symbol, text);
    if (length > (int)sizeof line - 2) length = sizeof line - 2;
    for (int i = 0; i < length; i++)
        if (line[i] == '\n') line[i] = '\037';
    line[length] = '\n';
    if (write(1, line, length + 1) < 0) _exit(99);
}

static void call(int plugin, void *handle, char *symbols) {
    char *functions[16] = {0};
    int (*addresses[16])(void) = {0};
    int count = 0;
    for (char *name = strtok(symbols, ","); name && count < 16; name = strtok(NULL, ",")) {
        say("symbol", plugin, name, "");
        dlerror();
        void *address = dlsym(handle, name);
        const char *error = address ? NULL : dlerror();
        if (!address) {
            say("missing", plugin, name, error ? error : "null");
            continue;
        }
        functions[count] = name;
        *(void **)&addresses[count++] = address;
    }
    for (int i = 0; i < count; i++) {
        char text[32];
        say("call", plugin, functions[i], "");
        snprintf(text, sizeof text, "%d", addresses[i]());
        say("answer", plugin, functions[i], text);
    }
}

int main(int count, char **arguments) {
    void *handles[PLUGINS_LIMIT] = {0};
    say("start", 0, "-", "");
    if (count < 4) return 2;
    int mode = (strcmp(arguments[1], "lazy") ? RTLD_NOW : RTLD_LAZY) | (strcmp(arguments[2], "global") ? RTLD_LOCAL : RTLD_GLOBAL);
    int plugins = count - 4 < PLUGINS_LIMIT ? count - 4 : PLUGINS_LIMIT;
    for (int i = 0; i < plugins; i++) {
        say("open", i, "-", "");
        handles[i] = dlopen(arguments[4 + i], mode);
        if (handles[i]) {
            say("opened", i, "-", "");
        } else {
            const char *error = dlerror();
            say("failed", i, "-", error ? error : "");
        }
    }
    for (int i = 0; i < plugins; i++) {
        if (!handles[i]) continue;
        char text[64];
        int status = 0;
        pid_t child = fork();
        if (child == 0) {
            alarm(CALL_TIMEOUT_SECONDS);
            call(i, handles[i], arguments[3]);
            say("called", i, "-", "");
            _exit(0);
        }
        if (waitpid(child, &status, 0) != child) _exit(98);
        snprintf(text, sizeof text, "%d %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
        say("ended", i, "-", text);
    }
    say("done", 0, "-", "");
    _exit(0);
}
