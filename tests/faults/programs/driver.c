/* Runs every case of a plan in its own root directory, as the user that it names, and writes down how each ended.
 *
 *     driver PLAN RESULTS [LDCONFIG CACHES]
 *
 * The plan has one word a line:  case NAME, ROOT, CWD, USER, the user and the group in effect, whether ldconfig runs first, number of variables, the
 * variables, number of arguments, the arguments. The results have a line
 * `NAME STATUS SIGNAL TIMED_OUT ERRNO OUT_BYTES ERR_BYTES` and then the bytes of both streams, for each case. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORD_LIMIT_BYTES = 8192, WORDS_LIMIT = 64, OUTPUT_LIMIT_BYTES = 65536, CASE_TIMEOUT_MS = 10000 };

static void fail(const char *what) {
    perror(what);
    exit(70);
}

static char *word(FILE *plan) {
    static char line[WORD_LIMIT_BYTES];
    if (!fgets(line, sizeof line, plan)) return NULL;
    line[strcspn(line, "\n")] = 0;
    char *copy = strdup(line);
    if (!copy) fail("strdup");
    return copy;
}

static char **words(FILE *plan) {
    char *text = word(plan);
    int count = text ? atoi(text) : -1;
    if (count < 0 || count >= WORDS_LIMIT) {
        fprintf(stderr, "a number of words is wrong\n");
        exit(70);
    }
    char **list = calloc(count + 1, sizeof *list);
    for (int i = 0; i < count; i++) list[i] = word(plan);
    return list;
}

static long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct outcome {
    int status, signal, timed_out, error;
    char out[OUTPUT_LIMIT_BYTES], err[OUTPUT_LIMIT_BYTES];
    int out_bytes, err_bytes;
};

static void run(const char *root, const char *cwd, char **variables, char **arguments, const int user[3], struct outcome *outcome) {
    int out[2], err[2], failed[2], status = 0;
    memset(outcome, 0, sizeof *outcome);
    if (pipe(out) || pipe(err) || pipe2(failed, O_CLOEXEC)) fail("pipe");
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
        struct rlimit none = {0, 0};
        setpgid(0, 0);
        setrlimit(RLIMIT_CORE, &none);
        dup2(out[1], 1);
        dup2(err[1], 2);
        for (int i = 3; i < 16; i++)
            if (i != failed[1]) close(i);
        int ready = !chroot(root) && !chdir(cwd);
        if (ready && (user[0] || user[1] || user[2]))
            ready = !setgroups(0, NULL) && !setresgid(user[0], user[2], user[2]) && !setresuid(user[0], user[1], user[1]);
        if (ready) execve(arguments[0], arguments, variables);
        int error = ready ? errno : 10000 + errno;
        if (write(failed[1], &error, sizeof error) < 0) _exit(70);
        _exit(127);
    }
    setpgid(child, child);
    close(out[1]);
    close(err[1]);
    close(failed[1]);
    if (read(failed[0], &outcome->error, sizeof outcome->error) < 0) fail("read");
    close(failed[0]);
    long end = now_ms() + CASE_TIMEOUT_MS;
    struct pollfd streams[2] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
    while (streams[0].fd >= 0 || streams[1].fd >= 0) {
        long left = end - now_ms();
        if (left <= 0 || poll(streams, 2, (int)left) == 0) {
            outcome->timed_out = 1;
            break;
        }
        for (int i = 0; i < 2; i++) {
            if (streams[i].fd < 0 || !streams[i].revents) continue;
            char dropped[4096], *to = i ? outcome->err : outcome->out;
            int *bytes = i ? &outcome->err_bytes : &outcome->out_bytes;
            int room = OUTPUT_LIMIT_BYTES - *bytes;
            ssize_t got = read(streams[i].fd, room ? to + *bytes : dropped, room ? (size_t)room : sizeof dropped);
            if (got <= 0) streams[i].fd = -1;
            else if (room) *bytes += got;
        }
    }
    kill(-child, SIGKILL);
    close(out[0]);
    close(err[0]);
    if (waitpid(child, &status, 0) != child) fail("waitpid");
    outcome->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    outcome->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void copy(const char *from, const char *to) {
    static char bytes[1 << 20];
    FILE *source = fopen(from, "rb"), *target = fopen(to, "wb");
    if (!source || !target) fail(from);
    for (size_t got; (got = fread(bytes, 1, sizeof bytes, source)) > 0;)
        if (fwrite(bytes, 1, got, target) != got) fail(to);
    fclose(source);
    if (fclose(target)) fail(to);
}

int main(int count, char **arguments) {
    static struct outcome outcome;
    if (count < 3) return 2;
    FILE *plan = fopen(arguments[1], "r"), *results = fopen(arguments[2], "w");
    if (!plan || !results) fail("plan or results");
    for (char *name; (name = word(plan));) {
        char *root = word(plan), *cwd = word(plan), *user = word(plan), *as_user = word(plan), *as_group = word(plan), *cache = word(plan);
        char **variables = words(plan), **command = words(plan);
        if (cache && *cache == '1') {
            if (count < 5) return 2;
            char *ldconfig[] = {arguments[3], "-X", "-r", root, "-f", "/etc/ld.so.conf", "-C", "/etc/ld.so.cache", NULL};
            char *nothing[] = {NULL}, path[2 * WORD_LIMIT_BYTES], saved[2 * WORD_LIMIT_BYTES];
            run("/", "/", nothing, ldconfig, (const int[3]){0}, &outcome);
            if (outcome.status || outcome.error) {
                fprintf(stderr, "%s: ldconfig: status %d, errno %d: %.*s\n", name, outcome.status, outcome.error, outcome.err_bytes, outcome.err);
                return 70;
            }
            snprintf(path, sizeof path, "%s/etc/ld.so.cache", root);
            snprintf(saved, sizeof saved, "%s/%s", arguments[4], name);
            copy(path, saved);
        }
        if (!user || !as_user || !as_group) fail("plan");
        run(root, cwd, variables, command, (const int[3]){atoi(user), atoi(as_user), atoi(as_group)}, &outcome);
        fprintf(results, "%s %d %d %d %d %d %d\n", name, outcome.status, outcome.signal, outcome.timed_out, outcome.error, outcome.out_bytes, outcome.err_bytes);
        fwrite(outcome.out, 1, outcome.out_bytes, results);
        fwrite(outcome.err, 1, outcome.err_bytes, results);
    }
    if (fclose(results)) fail("results");
    return 0;
}
