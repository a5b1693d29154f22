//! The system calls that a container may make: a list of what is allowed, since what is given replaces the engine's own.
//!
//! No container of lockstep has a capability that any other call would need, so whatever needs one is left out, and with it
//! what kernels are attacked through: BPF, performance events, user faults, keys, io_uring, mounts, namespaces. Sockets are
//! those that compilers and fetches need: local ones, IPv4 and IPv6; hosts under test may ask for their interfaces. A
//! virtual machine's own way out (`AF_VSOCK`) is not closed by having no network; packets, netlink, the kernel's
//! cryptography and every other family go with it.

use serde_json::{Value, json};

/// Errors as the kernel counts them, on all architectures that have an engine.
const EOPNOTSUPP: u32 = 95;
const EAFNOSUPPORT: u32 = 97;
const ENOSYS: u32 = 38;
/// Families of sockets, as `socket(2)` counts them.
const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const AF_NETLINK: u64 = 16;
/// The netlink that tells of interfaces and addresses (`rtnetlink(7)`); the others reach firewalls, audit and much else.
const NETLINK_ROUTE: u64 = 0;
const FAMILIES: [u64; 3] = [AF_UNIX, AF_INET, AF_INET6];
/// There is no family from here on (`AF_MAX` of linux/socket.h).
const FAMILIES_END: u64 = 46;
/// All flags of `clone(2)` that make namespaces.
const CLONE_NEW_ANY: u64 = 0x7e02_0000;
/// The personalities that `personality(2)` may be asked for: Linux, with or without a 32-bit machine's name (`uname26` and
/// `PER_LINUX32` as `setarch` sets them), and the question which it is.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// Those with addresses that are not random (`ADDR_NO_RANDOMIZE`), by themselves and with a kernel of another name: a rebuild
/// asks for them to see whether a compiler's output depends on where things lie.
const FIXED_ADDRESSES: [u64; 2] = [0x4_0000, 0x6_0000];

/// Files and directories: names, contents, attributes, and what tells of changes.
const FILES: &[&str] = &[
    "access",
    "arm_sync_file_range",
    "cachestat",
    "chdir",
    "chmod",
    "chown",
    "chown32",
    "close",
    "close_range",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fadvise64_64",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchown32",
    "fchownat",
    "fcntl",
    "fcntl64",
    "fdatasync",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstat64",
    "fstatat64",
    "fstatfs",
    "fstatfs64",
    "fsync",
    "ftruncate",
    "ftruncate64",
    "futimesat",
    "getcwd",
    "getdents",
    "getdents64",
    "getxattr",
    "getxattrat",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "ioctl",
    "lchown",
    "lchown32",
    "lgetxattr",
    "link",
    "linkat",
    "listxattr",
    "listxattrat",
    "llistxattr",
    "_llseek",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "lstat64",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "name_to_handle_at",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pread64",
    "preadv",
    "preadv2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "removexattr",
    "removexattrat",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendfile",
    "sendfile64",
    "setxattr",
    "setxattrat",
    "splice",
    "stat",
    "stat64",
    "statfs",
    "statfs64",
    "statx",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "sync_file_range2",
    "syncfs",
    "tee",
    "truncate",
    "truncate64",
    "umask",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimensat_time64",
    "utimes",
    "vmsplice",
    "write",
    "writev",
];

/// Waiting for descriptors, and descriptors that are made of nothing.
const EVENTS: &[&str] = &[
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_ctl_old",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "epoll_wait_old",
    "eventfd",
    "eventfd2",
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_pgetevents",
    "io_pgetevents_time64",
    "io_setup",
    "io_submit",
    "memfd_create",
    "memfd_secret",
    "_newselect",
    "pipe",
    "pipe2",
    "poll",
    "ppoll",
    "ppoll_time64",
    "pselect6",
    "pselect6_time64",
    "select",
    "signalfd",
    "signalfd4",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_gettime64",
    "timerfd_settime",
    "timerfd_settime64",
];

/// Memory, shared or not.
const MEMORY: &[&str] = &[
    "brk",
    "ipc",
    "madvise",
    "map_shadow_stack",
    "membarrier",
    "mincore",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mmap2",
    "mprotect",
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedreceive_time64",
    "mq_timedsend",
    "mq_timedsend_time64",
    "mq_unlink",
    "mremap",
    "mseal",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "remap_file_pages",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "semtimedop_time64",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
];

/// Processes, threads, users, signals and time. A smoke loader changes its children's user, which is a call that every
/// process may make and that fails without the capability.
const PROCESSES: &[&str] = &[
    "adjtimex",
    "alarm",
    "arch_prctl",
    "breakpoint",
    "cacheflush",
    "capget",
    "capset",
    "clock_adjtime",
    "clock_adjtime64",
    "clock_getres",
    "clock_getres_time64",
    "clock_gettime",
    "clock_gettime64",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "fork",
    "futex",
    "futex_requeue",
    "futex_time64",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "getcpu",
    "getegid",
    "getegid32",
    "geteuid",
    "geteuid32",
    "getgid",
    "getgid32",
    "getgroups",
    "getgroups32",
    "getitimer",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getrandom",
    "getresgid",
    "getresgid32",
    "getresuid",
    "getresuid32",
    "getrlimit",
    "get_robust_list",
    "getrusage",
    "getsid",
    "get_thread_area",
    "gettid",
    "gettimeofday",
    "getuid",
    "getuid32",
    "ioprio_get",
    "ioprio_set",
    "kill",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "nanosleep",
    "pause",
    "pidfd_open",
    "pidfd_send_signal",
    "prctl",
    "prlimit64",
    "process_mrelease",
    "restart_syscall",
    "riscv_flush_icache",
    "riscv_hwprobe",
    "rseq",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_sigtimedwait_time64",
    "rt_tgsigqueueinfo",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_rr_get_interval_time64",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    "seccomp",
    "setfsgid",
    "setfsgid32",
    "setfsuid",
    "setfsuid32",
    "setgid",
    "setgid32",
    "setgroups",
    "setgroups32",
    "setitimer",
    "setpgid",
    "setpriority",
    "setregid",
    "setregid32",
    "setresgid",
    "setresgid32",
    "setresuid",
    "setresuid32",
    "setreuid",
    "setreuid32",
    "setrlimit",
    "set_robust_list",
    "setsid",
    "set_thread_area",
    "set_tid_address",
    "set_tls",
    "setuid",
    "setuid32",
    "sigaction",
    "sigaltstack",
    "signal",
    "sigpending",
    "sigprocmask",
    "sigreturn",
    "sigsuspend",
    "sysinfo",
    "tgkill",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_gettime64",
    "timer_settime",
    "timer_settime64",
    "times",
    "tkill",
    "ugetrlimit",
    "uname",
    "vfork",
    "wait4",
    "waitid",
    "waitpid",
];

/// What is done with a socket once there is one; making one is allowed by its family.
const SOCKETS: &[&str] = &[
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "recv",
    "recvfrom",
    "recvmmsg",
    "recvmmsg_time64",
    "recvmsg",
    "send",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
];

/// Test suites and debuggers look into their own children; since this kernel a filter is not left by that.
const TRACING: &[&str] = &["process_vm_readv", "process_vm_writev", "ptrace"];
const TRACING_KERNEL: &str = "4.8";

/// What programs do without when the kernel does not have it, which is how they must be told: by a C library that takes
/// `clone3` for `clone`, by runtimes that poll where there is no io_uring. `socketcall` is how 32-bit programs once made
/// sockets, of every family at once.
const NOT_THERE: &[&str] = &[
    "clone3",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "socketcall",
];

/// The profile, as the engine's API takes it; `sees_interfaces` lets servers ask which network interfaces there are, and
/// `fixes_addresses` lets programs ask for addresses that are not random.
pub(super) fn profile(sees_interfaces: bool, fixes_addresses: bool) -> String {
    let mut rules: Vec<Value> = [FILES, EVENTS, MEMORY, PROCESSES, SOCKETS].map(allow).into();
    rules.push(with(allow(TRACING), "includes", json!({"minKernel": TRACING_KERNEL})));
    // Of no use without the capability, which no container of a run has.
    rules.push(with(
        allow(&["chroot"]),
        "includes",
        json!({"caps": ["CAP_SYS_CHROOT"]}),
    ));
    let fixed = FIXED_ADDRESSES.iter().filter(|_| fixes_addresses);
    let personalities = PERSONALITIES.iter().chain(fixed);
    rules.extend(personalities.map(|personality| when(allow(&["personality"]), 0, "SCMP_CMP_EQ", *personality, None)));
    // The first two arguments are the other way round there (clone(2)).
    let swapped = json!({"arches": ["s390", "s390x"]});
    let clone = |argument| {
        when(
            allow(&["clone"]),
            argument,
            "SCMP_CMP_MASKED_EQ",
            CLONE_NEW_ANY,
            Some(0),
        )
    };
    rules.push(with(clone(0), "excludes", swapped.clone()));
    rules.push(with(clone(1), "includes", swapped));
    for family in FAMILIES {
        rules.push(when(allow(&["socket"]), 0, "SCMP_CMP_EQ", family, None));
    }
    if sees_interfaces {
        let netlink = [equal(0, AF_NETLINK), equal(2, NETLINK_ROUTE)];
        rules.push(with(allow(&["socket"]), "args", json!(netlink)));
    }
    rules.push(when(allow(&["socketpair"]), 0, "SCMP_CMP_EQ", AF_UNIX, None));
    rules.push(refuse(NOT_THERE, ENOSYS));
    rules.extend(other_families(sees_interfaces));
    // Room that is taken without being written would fill the engine's disk before anybody looks; C libraries write then.
    rules.push(refuse(&["fallocate"], EOPNOTSUPP));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
            {"architecture": "SCMP_ARCH_S390X", "subArchitectures": ["SCMP_ARCH_S390"]},
            {"architecture": "SCMP_ARCH_PPC64LE", "subArchitectures": []},
            {"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": []},
        ],
        "syscalls": rules,
    })
    .to_string()
}

/// The other families are told as a kernel without them does it: programs do without what is not there (PAM without the audit),
/// and give up where they may not. Each is told by its number, and once `socketcall` is decided upon: libseccomp takes no two
/// answers that one call could match, and that one's arguments it cannot see.
fn other_families(sees_interfaces: bool) -> Vec<Value> {
    let not_there = || refuse(&["socket"], EAFNOSUPPORT);
    let is_other = |family: &u64| !FAMILIES.contains(family) && *family != AF_NETLINK;
    let others = (0..FAMILIES_END).filter(is_other);
    let mut rules: Vec<Value> = others
        .map(|family| when(not_there(), 0, "SCMP_CMP_EQ", family, None))
        .collect();
    rules.push(match sees_interfaces {
        true => {
            let others = [equal(0, AF_NETLINK), compared(2, "SCMP_CMP_NE", NETLINK_ROUTE, None)];
            with(not_there(), "args", json!(others))
        }
        false => when(not_there(), 0, "SCMP_CMP_EQ", AF_NETLINK, None),
    });
    rules
}

fn allow(names: &[&str]) -> Value {
    json!({"names": names, "action": "SCMP_ACT_ALLOW"})
}

fn refuse(names: &[&str], errno: u32) -> Value {
    json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno})
}

/// `rule` for calls whose argument compares so with `value`; for masks, `value` is the mask and `masked` what it leaves.
fn when(rule: Value, argument: u32, comparison: &str, value: u64, masked: Option<u64>) -> Value {
    with(rule, "args", json!([compared(argument, comparison, value, masked)]))
}

fn compared(argument: u32, comparison: &str, value: u64, masked: Option<u64>) -> Value {
    json!({"index": argument, "value": value, "valueTwo": masked.unwrap_or(0), "op": comparison})
}

fn equal(argument: u32, value: u64) -> Value {
    compared(argument, "SCMP_CMP_EQ", value, None)
}

fn with(mut rule: Value, key: &str, value: Value) -> Value {
    rule[key] = value;
    rule
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn rules(sees_interfaces: bool) -> Vec<Value> {
        let profile: Value = serde_json::from_str(&profile(sees_interfaces, false)).unwrap();
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
        profile["syscalls"].as_array().unwrap().clone()
    }

    fn names(rule: &Value) -> Vec<String> {
        let names = rule["names"].as_array().unwrap();
        names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn what_is_allowed_whatever_its_arguments_is_harmless() {
        let plain = |rule: &&Value| {
            rule["action"] == "SCMP_ACT_ALLOW" && rule.get("args").is_none() && rule["includes"].get("caps").is_none()
        };
        let allowed: Vec<String> = rules(true).iter().filter(plain).flat_map(names).collect();
        let once: BTreeSet<&String> = allowed.iter().collect();
        assert_eq!(once.len(), allowed.len(), "a call is listed twice");
        for refused in [
            "bpf",
            "perf_event_open",
            "userfaultfd",
            "keyctl",
            "add_key",
            "request_key",
            "mount",
            "umount2",
            "move_mount",
            "open_tree",
            "fsopen",
            "fsmount",
            "fspick",
            "mount_setattr",
            "pivot_root",
            "chroot",
            "unshare",
            "setns",
            "clone",
            "clone3",
            "socket",
            "socketpair",
            "socketcall",
            "io_uring_setup",
            "io_uring_enter",
            "io_uring_register",
            "open_by_handle_at",
            "init_module",
            "finit_module",
            "delete_module",
            "kexec_load",
            "reboot",
            "swapon",
            "syslog",
            "quotactl",
            "acct",
            "settimeofday",
            "clock_settime",
            "iopl",
            "ioperm",
            "modify_ldt",
            "fallocate",
            "personality",
        ] {
            assert!(!once.contains(&refused.to_owned()), "{refused}");
        }
        // What the smoke loader's first process needs to hand its plugins to another user and to see their ends.
        for needed in [
            "setuid",
            "setgid",
            "setgroups",
            "kill",
            "prctl",
            "waitid",
            "rt_sigtimedwait",
        ] {
            assert!(once.contains(&needed.to_owned()), "{needed}");
        }
    }

    #[test]
    fn only_three_families_of_sockets_are_allowed_and_a_question_about_interfaces() {
        let allowed = |sees_interfaces| -> Vec<Vec<u64>> {
            let rules = rules(sees_interfaces);
            let of_sockets = rules.iter().filter(|rule| names(rule) == ["socket"]);
            let (allowed, refused): (Vec<&Value>, Vec<&Value>) =
                of_sockets.partition(|rule| rule["action"] == "SCMP_ACT_ALLOW");
            assert!(
                refused.iter().all(|rule| rule["errnoRet"] == EAFNOSUPPORT),
                "{refused:?}"
            );
            // Every family is decided upon, netlink in two parts where a part of it is allowed.
            let decided = allowed.len() + refused.len();
            assert_eq!(decided as u64, FAMILIES_END + u64::from(sees_interfaces));
            allowed
                .into_iter()
                .map(|rule| {
                    let arguments = rule["args"].as_array().unwrap();
                    // By equality: other comparisons look at 64 bits where the kernel looks at 32.
                    assert!(arguments.iter().all(|argument| argument["op"] == "SCMP_CMP_EQ"));
                    arguments
                        .iter()
                        .map(|argument| argument["value"].as_u64().unwrap())
                        .collect()
                })
                .collect()
        };
        let families = FAMILIES.map(|family| vec![family]).to_vec();
        assert_eq!(allowed(false), families);
        assert_eq!(
            allowed(true),
            [families, vec![vec![AF_NETLINK, NETLINK_ROUTE]]].concat()
        );
    }
}
