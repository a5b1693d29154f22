//! What the kernel offers and the standard library does not: each call in a safe function, and nothing else.
#![expect(unsafe_code, reason = "system calls that the standard library has no functions for")]

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use crate::signal::Signal;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(Signal),
}

/// What a look at the ended children gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaped {
    /// This one has ended.
    Ended(i32, Ending),
    /// There are children, and none has ended.
    NoneEnded,
    /// There are no children.
    NoChildren,
}

/// Who a process is to be: a user and a group, and no other groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

/// A signal that was sent to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Which.
    pub signal: Signal,
    /// Who sent it.
    pub sender: Sender,
}

/// Who has sent a signal, as far as the kernel vouches for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The kernel, or a process of which this one knows nothing, as outside of its container.
    Outside,
    /// This process.
    Process(i32),
    /// Whoever sent it could write what it likes in the sender's place.
    Anyone,
}

/// Whether this is a container's first process. (On a machine that is its init, which is no loader.)
pub fn is_first_process() -> bool {
    std::process::id() == 1
}

/// Whether this process may become another user.
pub fn is_root() -> bool {
    // SAFETY: the call takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// No process of the same user may trace this one, write to its memory, or open its descriptors anew.
pub fn forbid_inspection() -> io::Result<()> {
    // SAFETY: this option takes one integer and no memory.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0 as libc::c_ulong) })
}

/// No process that is started gets a descriptor that this one was started with, standard ones apart. Kernels before 5.11
/// and old seccomp profiles refuse, which leaves things as they are.
pub fn keep_descriptors() {
    const FIRST: libc::c_uint = 3;
    const LAST: libc::c_uint = libc::c_uint::MAX;
    // SAFETY: the call takes no memory, and closes nothing: it sets a flag.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST, LAST, libc::CLOSE_RANGE_CLOEXEC) };
}

/// A pipe, its end for reading first. No process that is started gets either. It is its writer's, who may open it by its
/// name, too: `/dev/stderr` is where many programs write their log.
pub fn pipe(writer: Option<User>) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the call takes a number, says which it was, and changes it for this thread alone.
    let before = writer.map(|writer| unsafe { libc::setfsuid(writer.uid) });
    // SAFETY: the call writes two descriptors to `ends`.
    let made = check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) });
    if let Some(before) = before {
        // SAFETY: as above; the number was this thread's own.
        unsafe { libc::setfsuid(before as libc::uid_t) };
    }
    made?;
    // SAFETY: both were opened just now, and nobody else knows of them.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Orphans of this process's children become its own children, as they do for a container's first process.
pub fn adopt_orphans() -> io::Result<()> {
    // SAFETY: this option takes one integer and no memory.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1 as libc::c_ulong) })
}

/// Neither this process nor one that it starts writes core files: a crash is expected here.
pub fn forbid_core_files() -> io::Result<()> {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `none` outlives the call, which only reads it.
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) })
}

/// Holds back the signals that [`next_signal`] gives, in this thread and in those that it starts later, and all others
/// that would end this process: a plugin of the same user can send them. A fault of its own ends it all the same.
pub fn hold_signals() -> io::Result<()> {
    dispose_thread_signals(libc::SIG_IGN)?;
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigfillset` initialises the set before anything else uses it; the signal numbers are valid.
    let set = unsafe {
        libc::sigfillset(set.as_mut_ptr());
        for signal in NEVER_HELD_SIGNALS {
            libc::sigdelset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    };
    // SAFETY: `set` is initialised and outlives the call; a null pointer says that the old mask is not wanted.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Says what becomes of the signals that musl keeps for its threads: to be ignored or what the kernel does by itself. They
/// cannot be held back: musl's functions leave them out of every set, and let one of them through in each new thread. Nor do
/// they tell the kernel this, so it is asked itself. (glibc holds one of its two back, and catches the other.)
fn dispose_thread_signals(handler: libc::sighandler_t) -> io::Result<()> {
    if cfg!(not(target_env = "musl")) {
        return Ok(());
    }
    for signal in THREAD_SIGNALS {
        // The kernel's own structure: the handler, then flags, a restorer and a mask, all of them none.
        let mut action = [0_usize; KERNEL_ACTION_WORDS];
        action[0] = handler;
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: the kernel reads a structure that is no longer than `action`, which outlives the call, and writes nothing; the
        // handler is no function. The call is async-signal-safe.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                action.as_ptr(),
                none,
                KERNEL_SIGNAL_SET_BYTES,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Waits for a child's end or for the wish that this process ends.
pub fn next_signal(timeout: Duration) -> Option<Sent> {
    let set = awaited_signals();
    let mut details = MaybeUninit::<libc::siginfo_t>::zeroed();
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: the structures outlive the call, which reads the initialised ones and writes to `details`; all of its
    // values are valid as zeros.
    let (signal, details) = unsafe {
        let signal = libc::sigtimedwait(&set, details.as_mut_ptr(), &timeout);
        (signal, details.assume_init())
    };
    let sender = match details.si_code {
        // SAFETY: with these two codes the kernel has written the sender's number.
        libc::SI_USER | libc::SI_TKILL => match unsafe { details.si_pid() } {
            0 => Sender::Outside,
            pid => Sender::Process(pid),
        },
        // `rt_sigqueueinfo` lets a process write all that follows a negative code.
        code if code < 0 => Sender::Anyone,
        _ => Sender::Outside,
    };
    (signal > 0).then_some(Sent { signal, sender })
}

/// Takes one child that has ended, without waiting.
pub fn reap() -> Reaped {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a valid place for the call to write to.
        match unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) } {
            0 => return Reaped::NoneEnded,
            pid if pid > 0 && libc::WIFSIGNALED(status) => {
                return Reaped::Ended(pid, Ending::Signal(libc::WTERMSIG(status)))
            }
            pid if pid > 0 && libc::WIFEXITED(status) => {
                return Reaped::Ended(pid, Ending::Status(libc::WEXITSTATUS(status)))
            }
            // It has only stopped, and has made this process its tracer to have it told (PTRACE_TRACEME).
            pid if pid > 0 => {}
            _ => return Reaped::NoChildren,
        }
    }
}

/// Sends a signal to one process. That it has gone already is no error.
pub fn signal_process(pid: i32, signal: Signal) {
    if pid > 1 {
        // SAFETY: the call takes no memory; `pid` names one process.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Sends a signal to every process of a group. That it has gone already is no error.
pub fn signal_group(group: i32, signal: Signal) {
    // Group 1 would be written -1, which means every process there is.
    if group > 1 {
        // SAFETY: the call takes no memory; the negative number names a process group.
        unsafe { libc::kill(-group, signal) };
    }
}

/// Kills every process of this container but this one, if it is the container's first. The kernel does it at once for
/// all: none can fork in time.
pub fn kill_all_others() {
    if is_first_process() {
        // SAFETY: the call takes no memory; -1 names all processes of this namespace but the first and the caller.
        unsafe { libc::kill(-1, libc::SIGKILL) };
    }
}

/// Lets the command's process start as its parent was started: no signal held back or ignored. It dies with its parent, is this user
/// if one is given, and is what the kernel ends first when memory runs out.
pub fn prepare(command: &mut Command, user: Option<User>) {
    let adjust = move || {
        // What is ignored would be so in another program too.
        dispose_thread_signals(libc::SIG_DFL)?;
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `sigemptyset` initialises the set before `sigprocmask` reads it. All three are async-signal-safe.
        unsafe {
            libc::sigemptyset(none.as_mut_ptr());
            check(libc::sigprocmask(
                libc::SIG_SETMASK,
                none.as_ptr(),
                std::ptr::null_mut(),
            ))?;
        }
        sacrifice();
        if let Some(user) = user {
            become_user(user)?;
        }
        // After the change of the user, which would undo it.
        // SAFETY: this option takes one integer and no memory.
        unsafe { check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)) }
    };
    // SAFETY: between fork and exec the closure makes async-signal-safe calls only, and allocates nothing.
    unsafe { command.pre_exec(adjust) };
}

/// Lets the command's process start in a directory that its own user can enter. To be called after [`prepare`].
pub fn start_in(command: &mut Command, directory: CString) {
    let enter = move || {
        // SAFETY: the path ends with NUL and outlives the call, which writes nothing and is async-signal-safe.
        check(unsafe { libc::chdir(directory.as_ptr()) })
    };
    // SAFETY: between fork and exec the closure makes one async-signal-safe call, and allocates nothing.
    unsafe { command.pre_exec(enter) };
}

/// A file in memory that holds these bytes and is read from its start, by whoever has it.
pub fn in_memory(bytes: &[u8]) -> io::Result<File> {
    // SAFETY: the name ends with NUL; the descriptor, if there is one, is new and nobody else's.
    let mut file = unsafe {
        let descriptor = libc::memfd_create(c"input".as_ptr(), libc::MFD_CLOEXEC);
        check(descriptor)?;
        File::from_raw_fd(descriptor)
    };
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// Makes this process the first that the kernel ends when memory runs out. Where that cannot be done, the kernel judges by
/// size, which is nearly as good.
fn sacrifice() {
    const VALUE: &[u8] = b"1000";
    // SAFETY: the path ends with NUL and the value is as long as is said; all three calls are async-signal-safe.
    unsafe {
        let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file >= 0 {
            libc::write(file, VALUE.as_ptr().cast(), VALUE.len());
            libc::close(file);
        }
    }
}

/// Makes this process, which has one thread, another user for good: root's capabilities go with the number.
fn become_user(user: User) -> io::Result<()> {
    // SAFETY: no call takes memory, a list of no groups needs none.
    unsafe {
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setgid(user.gid))?;
        check(libc::setuid(user.uid))
    }
}

/// Undoes what Rust's runtime does about signals at the start of a program: a plugin's stack overflow would be told as
/// SIGABRT, and a SIGSEGV or SIGBUS that it raises would be lost.
pub fn restore_default_signals() {
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGPIPE] {
        // SAFETY: the default action is no function, so nothing of this program is called for the signal any more.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Takes what is standard input now, and puts `/dev/null` in its place.
pub fn take_standard_input() -> io::Result<OwnedFd> {
    let taken = io::stdin().as_fd().try_clone_to_owned()?;
    let null = File::open("/dev/null")?;
    // SAFETY: both descriptors are open; that of standard input is owned by nobody, so nothing is closed twice.
    check(unsafe { libc::dup2(null.as_raw_fd(), libc::STDIN_FILENO) })?;
    Ok(taken)
}

/// Ends this process at once: no destructors, no exit handlers.
pub fn end_now(status: i32) -> ! {
    // SAFETY: the call takes no memory and does not return.
    unsafe { libc::_exit(status) }
}

/// The C library's name, and its version if it tells one.
pub fn c_library() -> (Option<&'static str>, Option<String>) {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: the call gives a pointer to a string that is never freed.
        let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
        (Some("glibc"), Some(version.to_string_lossy().into_owned()))
    }
    #[cfg(target_env = "musl")]
    {
        (Some("musl"), None)
    }
    #[cfg(not(any(target_env = "gnu", target_env = "musl")))]
    {
        (None, None)
    }
}

/// What a terminal stops a process with.
const NEVER_HELD_SIGNALS: [Signal; 3] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// What musl cancels threads with, keeps time with, and changes users with (its `pthread_impl.h`).
const THREAD_SIGNALS: [Signal; 3] = [32, 33, 34];
/// No longer is what `rt_sigaction` reads.
const KERNEL_ACTION_WORDS: usize = 8;
/// The kernel's own set of 64 signals.
const KERNEL_SIGNAL_SET_BYTES: usize = 8;

fn awaited_signals() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set before anything else uses it; the signal numbers are valid.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT] {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
