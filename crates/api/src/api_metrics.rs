//! The families of the surface that clients see.

use crate::Api;
use crate::request_stats::Phase;
use metrics::Kind::{Counter, Gauge, Histogram};
use metrics::{Page, Source, Tally};
use wire::SERVED;

impl Source for Api {
    fn write(&self, page: &mut Page) {
        let shards = self.stats();
        let mut family = page.family("ottla_requests_total", Counter, "Requests of clients, by API.");
        for (place, range) in SERVED.iter().enumerate() {
            let requests: u64 = shards.iter().map(|shard| shard.requests(place)).sum();
            family.sample(&[("api", &format!("{:?}", range.key))], requests);
        }
        let mut family = page.family(
            "ottla_request_duration_seconds",
            Histogram,
            "Requests by API and phase: start (decoded, checked, handed over), work (until there is an answer; a Fetch may wait \
             there for records, a Produce for its replicas), send (until it is written), total.",
        );
        for (place, range) in SERVED.iter().enumerate() {
            let api = format!("{:?}", range.key);
            for phase in Phase::ALL {
                let mut tally = Tally::default();
                shards.iter().for_each(|shard| shard.add_to(place, phase, &mut tally));
                // An API that nobody uses costs no series.
                if tally.count() > 0 {
                    family.histogram(&[("api", &api), ("phase", phase.name())], &tally);
                }
            }
        }
        page.counter(
            "ottla_received_bytes_total",
            "Bytes of requests of clients.",
            shards.iter().map(|shard| shard.received_bytes.get()).sum::<u64>(),
        );
        page.counter(
            "ottla_sent_bytes_total",
            "Bytes of answers to clients.",
            shards.iter().map(|shard| shard.sent_bytes.get()).sum::<u64>(),
        );
        let (open, accepted, refused, delayed) = self.limits.counts();
        page.gauge("ottla_connections", "Connections of clients that are open.", open);
        page.gauge(
            "ottla_connections_limit",
            "Connections of clients that may be open (max.connections, lowered to what the process may open).",
            self.settings.max_connections,
        );
        page.counter(
            "ottla_connections_accepted_total",
            "Connections of clients that were served.",
            accepted,
        );
        page.counter(
            "ottla_connections_refused_total",
            "Connections of clients that were refused by max.connections or max.connections.per.ip.",
            refused,
        );
        page.counter(
            "ottla_connections_delayed_total",
            "Connections of clients that max.connection.creation.rate kept waiting.",
            delayed,
        );
        let classes = self.budget.used();
        let mut family = page.family(
            "ottla_memory_budget_used_bytes",
            Gauge,
            "Memory that requests and answers hold, by class; a class that is used up slows its own requests.",
        );
        for (class, used, _) in classes {
            family.sample(&[("class", class)], used);
        }
        let mut family = page.family("ottla_memory_budget_limit_bytes", Gauge, "What the class may hold.");
        for (class, _, limit) in classes {
            family.sample(&[("class", class)], limit);
        }
    }
}
