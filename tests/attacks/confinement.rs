//! What a program in a container can reach: sockets, and calls of the kernel.

use std::fmt::Write as _;

use crate::sample::with_sample;
use crate::table::Row;

/// Tries every family of sockets, also as a 32-bit program would, and calls that need what no container has. It prints a
/// line for whatever works that should not, or does not that should, and one at the end.
const PROBE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int wrong;
static void say(int is_well, const char *what, long number) {
  if (!is_well) { wrong++; printf("WRONG %s %ld (errno %d)\n", what, number, errno); }
}
static void *nothing(void *value) { return value; }

#ifdef __x86_64__
static long old_call(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
  return result;
}
#endif

int main(void) {
  for (int family = 0; family < 64; family++) {
    int is_needed = family == AF_UNIX || family == AF_INET || family == AF_INET6;
    int kinds[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET};
    int opened = 0;
    for (int kind = 0; kind < 4; kind++)
      for (int protocol = 0; protocol < 24; protocol++) {
        int descriptor = socket(family, kinds[kind], protocol);
        if (descriptor >= 0) { opened++; close(descriptor); }
      }
    if (family == AF_NETLINK && NETLINK_ALLOWED) continue;
    say(is_needed ? opened > 0 : opened == 0, "family", family);
#ifdef __x86_64__
    unsigned *words = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    words[0] = family; words[1] = SOCK_STREAM; words[2] = 0;
    if (!is_needed) {
      say(old_call(359, family, SOCK_STREAM, 0) < 0, "32-bit socket", family);
      say(syscall(0x40000000 | SYS_socket, family, SOCK_STREAM, 0) < 0, "x32 socket", family);
      say(syscall(SYS_socket, family | 0x100000000L, SOCK_STREAM, 0L) < 0, "socket with more bits", family);
    }
    say(old_call(102, 1, (long)words, 0) < 0, "socketcall", family);
#endif
  }
  int pair[2];
  say(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair", 0);
  char page[4096] = {0};
  struct { long number; const char *name; long a, b, c, d, e; } refused[] = {
    {SYS_unshare, "unshare", 0x10000000}, {SYS_unshare, "unshare", 0x40000000}, {SYS_setns, "setns", 0},
    {SYS_clone, "clone into a namespace", 0x10000000 | 17}, {SYS_clone, "clone into a namespace", 0x02000000 | 17},
    {435, "clone3", (long)page, 88}, {425, "io_uring_setup", 8, (long)page}, {426, "io_uring_enter", 0},
    {427, "io_uring_register", 0}, {SYS_bpf, "bpf", 0, (long)page, 72}, {SYS_perf_event_open, "perf_event_open", (long)page, 0, -1, -1},
    {SYS_userfaultfd, "userfaultfd", 1}, {SYS_keyctl, "keyctl", 0, -3}, {SYS_add_key, "add_key", (long)"user", (long)"x", (long)"y", 1, -3},
    {SYS_request_key, "request_key", (long)"user", (long)"x"}, {SYS_mount, "mount", (long)"x", (long)"/tmp", (long)"tmpfs"},
    {SYS_umount2, "umount2", (long)"/tmp", 2}, {SYS_pivot_root, "pivot_root", (long)"/tmp", (long)"/tmp"},
    {SYS_chroot, "chroot", (long)"/tmp"}, {428, "open_tree", -100, (long)"/", 1}, {430, "fsopen", (long)"tmpfs"},
    {SYS_open_by_handle_at, "open_by_handle_at", -100, (long)page, 0}, {SYS_syslog, "syslog", 3, (long)page, 4096},
    {SYS_quotactl, "quotactl", 0}, {SYS_swapon, "swapon", (long)"/tmp/x"}, {SYS_reboot, "reboot", 0},
    {SYS_init_module, "init_module", (long)page, 1, (long)""}, {SYS_kexec_load, "kexec_load", 0},
    {SYS_settimeofday, "settimeofday", (long)page}, {SYS_sethostname, "sethostname", (long)"x", 1},
    {SYS_fallocate, "fallocate", 1, 0, 0, 4096}, {SYS_move_pages, "move_pages", 0}, {SYS_personality, "personality", 0x0040000},
  };
  for (unsigned index = 0; index < sizeof refused / sizeof *refused; index++) {
    errno = 0;
    long result = syscall(refused[index].number, refused[index].a, refused[index].b, refused[index].c, refused[index].d, refused[index].e);
    if (result == 0 && refused[index].number == SYS_clone) _exit(0);
    say(result < 0 && (errno == EPERM || errno == ENOSYS || errno == EOPNOTSUPP), refused[index].name, result);
  }
  errno = 0;
  say(syscall(435, page, 88) < 0 && errno == ENOSYS, "clone3 must not seem to be there", errno);
  say(socket(AF_NETLINK, SOCK_RAW, 9) < 0 && errno == EAFNOSUPPORT, "the audit must not seem to be there", errno);
  struct addrinfo *addresses;
  say(getaddrinfo("127.0.0.1", "80", 0, &addresses) == 0, "getaddrinfo", 0);
  struct ifaddrs *interfaces;
  say((getifaddrs(&interfaces) == 0) == NETLINK_ALLOWED, "getifaddrs", 0);
  pthread_t thread;
  say(pthread_create(&thread, 0, nothing, 0) == 0, "thread", 0);
  say(syscall(SYS_memfd_create, "x", 0) >= 0, "memfd_create", 0);
  pid_t child = fork();
  if (child == 0) { ptrace(PTRACE_TRACEME, 0, 0, 0); _exit(0); }
  say(child > 0, "fork", child);
  printf("probed, %d wrong\n", wrong);
  return wrong ? 1 : 0;
}
"#;

/// What a compile runs: the probe, compiled there.
const COMMAND: &str = "cc -w -o $HOME/probe probe.c && $HOME/probe && cc -shared -fPIC -o $LOCKSTEP_OUT/good.so good.c";

#[test]
fn a_compile_has_the_sockets_and_the_calls_that_it_needs_and_no_others() {
    with_sample("sockets", |sample| {
        let mut row = Row::new(
            "confinement",
            "sockets and system calls of a compile, a fetch and a plugin",
        );
        let probe = PROBE.replace("NETLINK_ALLOWED", "0");
        sample.write("good/probe.c", &probe);
        let configured = |key: &str, command: &str| {
            sample.configure(&["good"], "");
            let text = sample.read("lockstep.yaml").unwrap();
            let mut given = format!("{key}: {}", serde_json::to_string(command).unwrap());
            if key == "fetch" {
                let _ = write!(given, ", env: {{LDFLAGS: ''}}");
            }
            sample.write(
                "lockstep.yaml",
                &text.replace("env: {LDFLAGS: '-Wl,-z,undefs'}", &given),
            );
        };
        configured("command", COMMAND);
        for step in ["compile", "fetch"] {
            if step == "fetch" {
                configured(
                    "fetch",
                    "cc -w -o $HOME/probe probe.c && $HOME/probe && touch $LOCKSTEP_DEPS/x || exit 1",
                );
            }
            let output = sample.run(&["build"]);
            let name = if step == "fetch" { "good-fetch" } else { "good" };
            let log = sample
                .read(&format!(".lockstep/logs/glibc-{name}.log"))
                .unwrap_or_default();
            row.check(log.contains("probed, 0 wrong"), || {
                format!("{step}: {log}{}", String::from_utf8_lossy(&output.stderr))
            });
        }
        // A plugin: what is wrong is its answer.
        sample.configure(&["good"], "");
        let plugin = PROBE
            .replace("NETLINK_ALLOWED", "1")
            .replace("int main(void) {", "long plugin_answer(void) {")
            .replace("return wrong ? 1 : 0;", "fflush(stdout); return 42 + wrong;");
        std::fs::remove_file(sample.path().join("good/probe.c")).unwrap();
        sample.write("good/good.c", &plugin);
        let text = sample
            .read("lockstep.yaml")
            .unwrap()
            .replace("-Wl,-z,undefs'", "-Wl,-z,undefs', CFLAGS: '-w'");
        sample.write("lockstep.yaml", &text);
        let output = sample.run(&["build", "--no-check"]);
        row.check(output.status.code() == Some(0), || {
            format!("plugin: {}", String::from_utf8_lossy(&output.stderr))
        });
        row.finish();
    });
}
