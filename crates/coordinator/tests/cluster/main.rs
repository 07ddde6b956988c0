//! Groups on three brokers in this process, whose leaders a script elects.

mod failover;
#[allow(dead_code, reason = "the broker's tests ask more of it")]
#[path = "../../../broker/tests/cluster/support.rs"]
mod support;

use broker as subject;
