use crate::node_state::{NodeState, Parts};
use crate::{ImageChanges, Readiness, cluster_metrics, health, process_metrics};
use controller::ControlHandle;
use host::HostRef;
use metadata::Image;
use metrics::Page;
use std::cell::RefCell;
use std::sync::Arc;

/// The node as this thread sees it: what it keeps from one image to the next, and the answers.
pub(crate) struct View {
    host: HostRef,
    state: NodeState,
    kept: RefCell<Kept>,
}

struct Kept {
    image: Arc<Image>,
    readiness: Readiness,
    ready: Result<(), String>,
    changes: ImageChanges,
}

/// Status, and the text of the answer.
pub(crate) struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub text: String,
}

const TEXT: &str = "text/plain; charset=utf-8";
/// Of the exposition format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const INDEX: &str = "ottla: /metrics (Prometheus), /livez, /readyz, /startupz\n";

impl View {
    pub fn new(host: HostRef, state: NodeState) -> Self {
        Self {
            host,
            state,
            kept: RefCell::new(Kept {
                image: Arc::default(),
                readiness: Readiness::default(),
                ready: Err("it has no metadata yet".to_owned()),
                changes: ImageChanges::default(),
            }),
        }
    }

    /// Takes in every image, until the control plane has ended.
    pub async fn follow(&self) {
        let mut parts = self.state.parts();
        let control = match parts.wait_for(|parts| parts.control.is_some()).await {
            Ok(parts) => parts.control.clone(),
            Err(_) => None,
        };
        let Some(control) = control else { return };
        let (mut images, mut registration) = (control.image(), control.registration());
        loop {
            self.look(&control);
            let changed = tokio::select! {
                changed = images.changed() => changed,
                changed = registration.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// The newest image, and what it says that the last did not.
    fn look(&self, control: &ControlHandle) {
        let (image, registration) = (control.image().borrow().clone(), *control.registration().borrow());
        let mut kept = self.kept.borrow_mut();
        let me = control.node_id();
        // What a starting node reads of the past does not happen now.
        if registration.is_some() {
            let before = kept.image.clone();
            kept.changes.add(&before, &image, me);
        }
        kept.ready = kept.readiness.look(&image, registration, me);
        kept.image = image;
    }

    /// Of a GET or HEAD of this path.
    pub fn answer(&self, path: &str) -> Answer {
        let parts = self.state.parts().borrow().clone();
        let checked = match path {
            "/" => return answer(200, TEXT, INDEX.to_owned()),
            "/metrics" => return answer(200, METRICS, self.page(&parts)),
            "/livez" => health::liveness(parts.broker.as_ref().map(broker::Broker::silence)),
            "/readyz" => {
                if let Some(control) = &parts.control {
                    self.look(control);
                }
                health::ready(&parts, &self.kept.borrow().ready)
            }
            "/startupz" => health::startup(&parts),
            _ => return answer(404, TEXT, format!("nothing here. {INDEX}")),
        };
        match checked {
            Ok(well) => answer(200, TEXT, format!("{well}\n")),
            Err(why) => answer(503, TEXT, format!("{why}\n")),
        }
    }

    fn page(&self, parts: &Parts) -> String {
        let mut page = Page::new();
        process_metrics::write(&mut page, &*self.host);
        let Some(control) = &parts.control else {
            return page.into_text();
        };
        self.look(control);
        let kept = self.kept.borrow();
        page.gauge(
            "ottla_ready",
            "1 while /readyz answers 200.",
            health::ready(parts, &kept.ready).is_ok(),
        );
        cluster_metrics::write_partitions(&mut page, &kept.image, control.node_id(), &kept.changes);
        cluster_metrics::write_brokers(&mut page, &kept.image, control.node_id());
        cluster_metrics::write_raft(&mut page, control.raft().as_ref());
        for source in &parts.sources {
            source.write(&mut page);
        }
        page.into_text()
    }
}

fn answer(status: u16, content_type: &'static str, text: String) -> Answer {
    Answer {
        status,
        content_type,
        text,
    }
}
