//! The system calls of the daemon: what all threads need, and what only those off the way of packets do.
//!
//! Lists say what is allowed, so that a call of a later kernel is not. They follow what the threads do, and what the C
//! libraries (glibc, musl) and the kernel make of it: one function can be several calls, by version and processor. What
//! is missing is found by running the namespace cases, in which a violation kills.
//!
//! Not on any list, and the point of it: connect, execve, fork, ptrace, process_vm_readv, open, mount, setns, unshare,
//! bpf, io_uring, perf_event_open, keyctl.

use libc::c_long;

use super::{Argument, Call};

/// Returns what every thread may do: use memory, locks and clocks, start and end threads, read and write what is open.
pub(super) fn common() -> Vec<Call> {
    let mut calls = any(&[
        // Packets.
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_recvmmsg,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_sendmmsg,
        libc::SYS_getsockopt,
        libc::SYS_getsockname,
        libc::SYS_getpeername,
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        libc::SYS_ppoll,
        libc::SYS_timerfd_settime,
        libc::SYS_close,
        // A debug build asks before it closes whether there is something to close.
        libc::SYS_fcntl,
        // Locks, clocks and chance.
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        // Whether other threads wait for the core.
        libc::SYS_getrusage,
        libc::SYS_getrandom,
        libc::SYS_restart_syscall,
        // Memory.
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        // Threads, from their start to their end.
        libc::SYS_set_robust_list,
        libc::SYS_set_tid_address,
        libc::SYS_membarrier,
        libc::SYS_rseq,
        libc::SYS_sigaltstack,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_getaffinity,
        libc::SYS_exit,
        libc::SYS_exit_group,
        // What cannot fail, so that callers do not even look.
        libc::SYS_getpid,
        libc::SYS_getppid,
        libc::SYS_gettid,
        libc::SYS_getuid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getegid,
        libc::SYS_uname,
    ]);
    #[cfg(target_arch = "x86_64")]
    calls.extend(any(&[libc::SYS_poll, libc::SYS_epoll_wait, libc::SYS_time, libc::SYS_gettimeofday]));
    calls.extend([
        // No new code comes into the process.
        only(libc::SYS_mmap, [vec![without(2, libc::PROT_EXEC)]]),
        only(libc::SYS_mprotect, [vec![without(2, libc::PROT_EXEC)]]),
        // Threads, never processes, and in our namespaces.
        only(libc::SYS_clone, [vec![with(0, libc::CLONE_THREAD), without(0, NAMESPACES)]]),
        only(libc::SYS_prctl, [vec![is(0, libc::PR_SET_NAME)], vec![is(0, libc::PR_SET_VMA)]]),
        // To abort, a thread sends itself a signal.
        only(libc::SYS_tgkill, [vec![is(0, std::process::id().cast_signed())]]),
    ]);
    calls
}

/// Returns what only the threads that are configured or watch the system may do beside [`common`].
pub(super) fn control() -> Vec<Call> {
    let mut calls = any(&[
        // Sockets, of the kinds below.
        libc::SYS_bind,
        libc::SYS_setsockopt,
        libc::SYS_socketpair,
        libc::SYS_accept4,
        libc::SYS_shutdown,
        // The runtime of the configuration thread.
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_eventfd2,
        libc::SYS_timerfd_create,
        // The socket file and the interface's namespace: looked at, watched, removed, never opened.
        libc::SYS_fstat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_unlinkat,
        libc::SYS_inotify_init1,
        libc::SYS_inotify_add_watch,
        libc::SYS_inotify_rm_watch,
        // The file of /proc with the memory in use, which is read again and again.
        libc::SYS_pread64,
        // What a thread that is being confined gives up further.
        libc::SYS_capget,
        libc::SYS_capset,
        libc::SYS_seccomp,
    ]);
    #[cfg(target_arch = "x86_64")]
    calls.extend(any(&[libc::SYS_stat, libc::SYS_lstat, libc::SYS_unlink]));
    calls.extend([
        only(
            libc::SYS_socket,
            [
                vec![is(0, libc::AF_INET), DATAGRAM],
                vec![is(0, libc::AF_INET6), DATAGRAM],
                vec![is(0, libc::AF_NETLINK), is(2, libc::NETLINK_ROUTE)],
                vec![is(0, libc::AF_UNIX)],
            ],
        ),
        only(libc::SYS_ioctl, REQUESTS.map(|request| vec![is(1, request as i32)])),
    ]);
    calls
}

/// Returns what reading files takes: opening them for nothing else, and listing directories. Which, is for Landlock to say.
pub(super) fn reading() -> Vec<Call> {
    [any(&[libc::SYS_getdents64]), opening()].concat()
}

/// Returns what the process that looks names up may do beside [`common`] and [`control`]: read files, and speak to one
/// name server with one socket.
pub(super) fn names() -> Vec<Call> {
    [any(&[libc::SYS_connect, libc::SYS_lseek]), opening()].concat()
}

fn opening() -> Vec<Call> {
    let mut calls = vec![only(libc::SYS_openat, [vec![without(2, BEYOND_READING)]])];
    #[cfg(target_arch = "x86_64")]
    calls.push(only(libc::SYS_open, [vec![without(1, BEYOND_READING)]]));
    calls
}

/// Returns what of [`control`] that process has no use for.
pub(super) fn beyond_names() -> Vec<c_long> {
    let mut calls = vec![libc::SYS_bind, libc::SYS_accept4, libc::SYS_unlinkat, libc::SYS_inotify_init1];
    #[cfg(target_arch = "x86_64")]
    calls.push(libc::SYS_unlink);
    calls
}

/// Returns what libraries try by themselves and do well without: never a reason to kill.
pub(super) fn attempted() -> Vec<Call> {
    // The flags of clone3 are in memory, where no filter sees them; without it there is `clone`. The allocator opens
    // the state of overcommitment, the standard library the limits of a control group, to count cores.
    let mut calls = any(&[libc::SYS_clone3, libc::SYS_openat]);
    #[cfg(target_arch = "x86_64")]
    calls.extend(any(&[libc::SYS_open]));
    calls
}

fn any(numbers: &[c_long]) -> Vec<Call> {
    numbers.iter().map(|&number| Call { number, only: Vec::new() }).collect()
}

fn only<const N: usize>(number: c_long, ways: [Vec<Argument>; N]) -> Call {
    Call { number, only: ways.into() }
}

const fn is(position: u8, value: i32) -> Argument {
    Argument { position, mask: u32::MAX, value: value.cast_unsigned() }
}

const fn with(position: u8, bits: i32) -> Argument {
    Argument { position, mask: bits.cast_unsigned(), value: bits.cast_unsigned() }
}

const fn without(position: u8, bits: i32) -> Argument {
    Argument { position, mask: bits.cast_unsigned(), value: 0 }
}

/// What a file is opened with that shall not only be read.
const BEYOND_READING: i32 = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND;

/// SOCK_DGRAM, whatever flags are with it.
const DATAGRAM: Argument = Argument { position: 1, mask: 0xf, value: libc::SOCK_DGRAM as u32 };

/// What is asked of a TUN and of sockets after the start.
const REQUESTS: [libc::Ioctl; 6] =
    [libc::TUNGETIFF, libc::TUNGETDEVNETNS, libc::TUNSETOFFLOAD, libc::SIOCGIFINDEX, libc::SIOCGIFNAME, libc::FIONBIO];

const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;
