/* What a build leaves that depends on the day, the machine and the storage: `/day first`, then `/day second` or `/day third`. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static void check(int failed, const char *what) {
    if (failed) { perror(what); exit(1); }
}

static void file(const char *path, const char *text, size_t size) {
    int out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    check(out < 0, path);
    check(write(out, text, size) != (ssize_t)size, path);
    close(out);
}

static void text(const char *path, const char *content) { file(path, content, strlen(content)); }

static void first(void) {
    char now[200], name[400] = "/d/", random[17];
    struct timespec time;
    unsigned char bytes[8], pyc[16] = {0xf3, 0x0d, 0x0d, 0x0a};
    clock_gettime(CLOCK_REALTIME, &time);
    check(getentropy(bytes, sizeof bytes), "entropy");
    for (int i = 0; i < 8; i++) sprintf(random + 2 * i, "%02x", bytes[i]);
    snprintf(now, sizeof now, "%ld.%09ld %s\n", (long)time.tv_sec, time.tv_nsec, random);
    check(mkdir("/d", 0755) || mkdir("/d/e", 0755) || mkdir("/d/f", 0700) || mkdir("/d/g", 0755), "mkdir");
    text("/d/b", "b"); text("/d/e/a", "a"); text("/d/e/z", "z"); text("/d/f/gone", "gone"); text("/d/g/stays", "stays");
    check(link("/d/b", "/d/0") || symlink("b", "/d/l"), "link");
    check(chown("/d/b", 7, 8) || chmod("/d/e/a", 04755), "chown");
    /* A capability without a user of its own (capability.h: VFS_CAP_REVISION_2): cap_net_raw, permitted. */
    unsigned char capability[20] = {1, 0, 0, 2, 0, 0x20};
    check(setxattr("/d/e/a", "security.capability", capability, sizeof capability, 0), "setxattr");
    memset(name + 3, 'n', 200); text(name, "long");
    text("/d/sparse", "s"); check(truncate("/d/sparse", 3 << 20), "truncate");
    /* What records the day. */
    check(mkdir("/var/log/own", 0755), "mkdir");
    text("/var/log/own/log", now); text("/var/log/old", now); text("/etc/machine-id", now); text("/etc/passwd-", now);
    snprintf(now, sizeof now, "root:*:19000:0:99999:7:::\nnew:!:%ld:0:99999:7:::\n",
             (long)time.tv_sec / 86400 - bytes[0] % 100);
    text("/etc/shadow", now);
    pyc[8] = time.tv_sec; pyc[9] = time.tv_sec >> 8; pyc[10] = time.tv_sec >> 16; pyc[11] = time.tv_sec >> 24;
    check(mkdir("/d/__pycache__", 0755), "mkdir");
    file("/d/__pycache__/new.pyc", (char *)pyc, sizeof pyc);
    memset(pyc + 8, 0, 8); file("/d/__pycache__/old.pyc", (char *)pyc, sizeof pyc);
}

static void second(void) {
    /* A directory gone, a file replaced by a directory and the other way round. */
    text("/d/e/n", "n");
    check(unlink("/d/f/gone") || rmdir("/d/f"), "gone");
    check(unlink("/d/g/stays") || rmdir("/d/g"), "g"); text("/d/g", "a file now");
    check(unlink("/d/l") || mkdir("/d/l", 0755), "l"); text("/d/l/x", "x");
    check(unlink("/base/a") || rename("/base/b", "/base/c"), "base");
    check(chmod("/base/d", 0700), "chmod");
}

static void third(void) {
    /* A directory made anew. */
    check(unlink("/d/e/a") || unlink("/d/e/z") || rmdir("/d/e") || mkdir("/d/e", 0755), "anew");
    second();
}

int main(int count, char **words) {
    const char *step = count > 1 ? words[1] : "first";
    if (!strcmp(step, "second")) second();
    else if (!strcmp(step, "third")) third();
    else first();
    return 0;
}
