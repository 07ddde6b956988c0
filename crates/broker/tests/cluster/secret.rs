//! Whoever can acknowledge can commit.

use crate::support::*;
use std::time::Duration;
use types::NodeId;

/// ◆ A node that does not know the secret is sent nothing, and acknowledges nothing: it leaves the ISR, and the others go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_without_the_secret_is_sent_nothing() {
    for stranger in [None, Some("another secret of 32 characters!!")] {
        let mut cluster = Cluster::new(1, &[("min.insync.replicas", "2")]);
        cluster.timings.replica_lag = Duration::from_millis(500);
        cluster.secrets[2] = stranger;
        let nodes = cluster.start_all().await;
        nodes[0].produce(batch("first"), -1).await.unwrap();
        assert_eq!(cluster.script.partition().isr, [NodeId(1), NodeId(2)], "{stranger:?}");
        assert_eq!(nodes[2].fetch(0).await.high_watermark.0.max(0), 0);
        assert_eq!(nodes[1].read_to(1).await, nodes[0].read_to(1).await);
    }
}
