/*
 * A small HTTP server with manners that can be chosen.
 *
 * usage: server PORT [listen-after-ms N] [stop-status N] [ignore-term] [exit-before-ready N] [unhealthy N]
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static int stop_status;
static int unhealthy;

static void stop(int signal)
{
    (void)signal;
    if (write(1, "stopping\n", 9) != 9)
        _exit(99);
    _exit(stop_status);
}

static void say(int connection, const char *text) { (void)!write(connection, text, strlen(text)); }

static void answer(int connection, const char *head, const char *body)
{
    char text[8192];
    snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", head, strlen(body), body);
    say(connection, text);
}

/* Head and body of one request, as far as it says how long it is. */
static void receive(int connection, char *text, size_t size)
{
    size_t length = 0, wanted = size - 1;
    while (length < wanted) {
        ssize_t more = read(connection, text + length, wanted - length);
        if (more <= 0)
            break;
        length += (size_t)more;
        text[length] = 0;
        char *end = strstr(text, "\r\n\r\n");
        if (end != NULL) {
            char *field = strcasestr(text, "\r\ncontent-length:");
            size_t body = field != NULL && field < end ? strtoul(field + 17, NULL, 10) : 0;
            wanted = (size_t)(end + 4 - text) + body;
            if (wanted > size - 1)
                wanted = size - 1;
        }
    }
    text[length] = 0;
}

static void serve(int connection)
{
    char text[4096];
    char path[256] = "";
    receive(connection, text, sizeof text);
    sscanf(text, "%*s %255s", path);
    if (strcmp(path, "/healthz") == 0) {
        if (unhealthy > 0) {
            unhealthy--;
            answer(connection, "503 Not Yet", "");
        } else {
            answer(connection, "200 OK", "ok");
        }
    } else if (strcmp(path, "/hello?name=World") == 0) {
        answer(connection, "200 OK\r\nContent-Type: text/plain\r\nX-Plugin: a\r\nx-plugin: b", "hello, World");
    } else if (strcmp(path, "/echo") == 0) {
        answer(connection, "201 Created", text);
    } else if (strcmp(path, "/chunked") == 0) {
        say(connection, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello,\r\n");
        usleep(20000);
        say(connection, "7\r\n chunks\r\n0\r\n\r\n");
    } else if (strcmp(path, "/until-close") == 0) {
        say(connection, "HTTP/1.0 200 OK\r\n\r\nuntil the connection is closed");
    } else if (strcmp(path, "/binary") == 0) {
        answer(connection, "200 OK", "\xff\xfe");
    } else if (strcmp(path, "/huge") == 0) {
        static char piece[65536];
        memset(piece, 'x', sizeof piece);
        say(connection, "HTTP/1.1 200 OK\r\n\r\n");
        while (send(connection, piece, sizeof piece, MSG_NOSIGNAL) > 0)
            ;
    } else if (strcmp(path, "/slow") == 0) {
        say(connection, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nslow");
        sleep(60);
    } else if (strcmp(path, "/drop") == 0) {
        say(connection, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nslow");
    } else if (strcmp(path, "/noise") == 0) {
        for (int i = 0; i < 40000; i++)
            printf("a line that fills the pipe while the client waits for its answer\n");
        fflush(stdout);
        answer(connection, "200 OK", "noisy");
    } else if (strcmp(path, "/crash") == 0) {
        abort();
    } else {
        answer(connection, "404 Not Found", "no such page");
    }
    close(connection);
}

int main(int count, char **words)
{
    int port = count > 1 ? atoi(words[1]) : 0;
    int delay = 0;
    for (int i = 2; i < count; i++) {
        int number = i + 1 < count ? atoi(words[i + 1]) : 0;
        if (strcmp(words[i], "listen-after-ms") == 0)
            delay = number;
        else if (strcmp(words[i], "stop-status") == 0)
            stop_status = number;
        else if (strcmp(words[i], "unhealthy") == 0)
            unhealthy = number;
        else if (strcmp(words[i], "ignore-term") == 0)
            signal(SIGTERM, SIG_IGN);
        else if (strcmp(words[i], "exit-before-ready") == 0) {
            fprintf(stderr, "cannot read the configuration\n");
            return number;
        }
    }
    struct sigaction action = {.sa_handler = stop};
    struct sigaction current;
    sigaction(SIGTERM, NULL, &current);
    if (current.sa_handler != SIG_IGN)
        sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    usleep((useconds_t)delay * 1000);

    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 16) < 0) {
        perror("listen");
        return 1;
    }
    printf("listening on %d\n", port);
    fflush(stdout);
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (connection >= 0)
            serve(connection);
    }
}
