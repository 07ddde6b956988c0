//! Transparent huge pages: one touched byte makes 2 MiB resident.

/// Switches transparent huge pages off for this process and its children (`prctl(PR_SET_THP_DISABLE)`, Linux 3.15). With
/// them, an idle node's heap took 52 MiB where 24 MiB were in use, since the allocator's arenas are asked for in huge
/// pages. To be called before much is allocated; a system that cannot is no error.
pub fn disable_huge_pages() {
    #[cfg(target_os = "linux")]
    // SAFETY: prctl with these arguments reads and writes no memory of ours.
    let _ = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}
