//! The families of every process, under the names that Prometheus' own clients use.

use host::Host;
use metrics::Page;

pub(crate) fn write(page: &mut Page, host: &dyn Host) {
    page.family(
        "ottla_build_info",
        metrics::Kind::Gauge,
        "1, with the version of the program.",
    )
    .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1u64);
    let Some(usage) = host.process_usage() else { return };
    page.counter(
        "process_cpu_seconds_total",
        "Time on a processor, in user and system mode.",
        usage.cpu.as_secs_f64(),
    );
    page.gauge(
        "process_resident_memory_bytes",
        "Memory that is resident.",
        usage.resident_bytes,
    );
    page.gauge(
        "process_virtual_memory_bytes",
        "Memory that is mapped.",
        usage.virtual_bytes,
    );
    page.gauge("process_threads", "Threads.", usage.threads);
    page.gauge("process_open_fds", "Files and sockets that are open.", usage.open_files);
    if let Some(max) = usage.open_files_max {
        page.gauge("process_max_fds", "Files and sockets that may be open.", max);
    }
}
