/* The only program in the tests' image: it does one thing after the other, as its arguments say. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int last_errno(const char *what) {
    printf("%s: %s\n", what, strerror(errno));
    return 1;
}

static int copy(FILE *from, FILE *to) {
    char buffer[65536];
    size_t count;
    while ((count = fread(buffer, 1, sizeof buffer, from)) > 0) fwrite(buffer, 1, count, to);
    return 0;
}

static int list(const char *path) {
    DIR *directory = opendir(path);
    if (!directory) return last_errno(path);
    for (struct dirent *entry; (entry = readdir(directory));)
        if (entry->d_name[0] != '.') printf("%s\n", entry->d_name);
    return closedir(directory);
}

/* The line of /proc/self/status that starts with `key`. */
static int status(const char *key) {
    char line[4096];
    FILE *file = fopen("/proc/self/status", "r");
    if (!file) return last_errno("status");
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, key, strlen(key))) fputs(line, stdout);
    return fclose(file);
}

/* Starts `count` processes that wait, and tells how many there are. */
static int crowd(int count) {
    int started = 0;
    for (; started < count; started++) {
        pid_t child = fork();
        if (child < 0) break;
        if (child == 0) for (;;) pause();
    }
    printf("started %d\n", started);
    return 0;
}

static int eat(size_t mebibytes) {
    for (size_t i = 0; i < mebibytes; i++) {
        char *page = malloc(1 << 20);
        if (!page) return last_errno("malloc");
        memset(page, 1, 1 << 20);
    }
    printf("ate %zu\n", mebibytes);
    return 0;
}

/* Writes `lines` numbered lines of 64 bytes to each stream. */
static int flood(int lines) {
    for (int i = 0; i < lines; i++) {
        fprintf(stdout, "out %059d\n", i);
        fprintf(stderr, "err %059d\n", i);
    }
    return 0;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++) {
        const char *verb = argv[i];
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        int failed = 0;
        if (!strcmp(verb, "id")) { printf("%d:%d\n", getuid(), getgid()); continue; }
        if (!strcmp(verb, "abort")) abort();
        i++;
        if (!strcmp(verb, "out")) puts(value);
        else if (!strcmp(verb, "err")) fprintf(stderr, "%s\n", value);
        else if (!strcmp(verb, "exit")) return atoi(value);
        else if (!strcmp(verb, "sleep")) sleep(atoi(value));
        else if (!strcmp(verb, "list")) failed = list(value);
        else if (!strcmp(verb, "status")) failed = status(value);
        else if (!strcmp(verb, "crowd")) failed = crowd(atoi(value));
        else if (!strcmp(verb, "eat")) failed = eat(atoi(value));
        else if (!strcmp(verb, "flood")) failed = flood(atoi(value));
        else if (!strcmp(verb, "env")) printf("%s\n", getenv(value) ? getenv(value) : "(none)");
        else if (!strcmp(verb, "mkdir")) failed = mkdir(value, 0755) ? last_errno(value) : 0;
        else if (!strcmp(verb, "touch")) {
            FILE *file = fopen(value, "w");
            failed = file ? fclose(file) : last_errno(value);
        } else if (!strcmp(verb, "cat")) {
            FILE *file = fopen(value, "r");
            failed = file ? (copy(file, stdout), fclose(file)) : last_errno(value);
        } else if (!strcmp(verb, "copy")) {
            const char *target = i + 1 < argc ? argv[++i] : "";
            FILE *from = fopen(value, "r"), *to = fopen(target, "w");
            failed = from && to ? (copy(from, to), fclose(from), fclose(to)) : last_errno(target);
        } else { fprintf(stderr, "no such verb: %s\n", verb); return 125; }
        if (failed) return 1;
    }
    return 0;
}
