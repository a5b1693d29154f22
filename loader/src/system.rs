//! What the kernel offers and the standard library does not: each call in a safe function, and nothing else.
#![expect(unsafe_code, reason = "system calls that the standard library has no functions for")]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
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

/// Holds back the signals that [`next_signal`] gives, in this thread and in those that it starts later.
pub fn hold_signals() -> io::Result<()> {
    let set = held_signals();
    // SAFETY: `set` is initialised and outlives the call; a null pointer says that the old mask is not wanted.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Waits for a child's end or for the wish that this process ends.
pub fn next_signal(timeout: Duration) -> Option<Signal> {
    let set = held_signals();
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: both structures are initialised and outlive the call; a null pointer says that details are not wanted.
    let signal = unsafe { libc::sigtimedwait(&set, std::ptr::null_mut(), &timeout) };
    (signal > 0).then_some(signal)
}

/// Takes one child that has ended, without waiting.
pub fn reap() -> Reaped {
    let mut status = 0;
    // SAFETY: `status` is a valid place for the call to write to.
    match unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) } {
        0 => Reaped::NoneEnded,
        pid if pid > 0 && libc::WIFSIGNALED(status) => Reaped::Ended(pid, Ending::Signal(libc::WTERMSIG(status))),
        pid if pid > 0 => Reaped::Ended(pid, Ending::Status(libc::WEXITSTATUS(status))),
        _ => Reaped::NoChildren,
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

/// Lets the command's process start as its parent was started: no signal held back. It dies with its parent.
pub fn prepare(command: &mut Command) {
    let adjust = || {
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `sigemptyset` initialises the set before `sigprocmask` reads it. All three are async-signal-safe.
        unsafe {
            libc::sigemptyset(none.as_mut_ptr());
            check(libc::sigprocmask(
                libc::SIG_SETMASK,
                none.as_ptr(),
                std::ptr::null_mut(),
            ))?;
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong))
        }
    };
    // SAFETY: between fork and exec the closure makes async-signal-safe calls only, and allocates nothing.
    unsafe { command.pre_exec(adjust) };
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

fn held_signals() -> libc::sigset_t {
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
