/// Runs `work` and asserts that it never held more than `bytes_max` bytes of memory at once.
pub(crate) fn bounded<T>(bytes_max: usize, work: impl FnOnce() -> T) -> T {
    let mut result = None;
    let used = allocation_counter::measure(|| result = Some(work()));
    assert!(
        used.bytes_max <= bytes_max as u64,
        "{} bytes of memory, at most {bytes_max} were allowed",
        used.bytes_max
    );
    result.unwrap_or_else(|| unreachable!("measured work runs"))
}
