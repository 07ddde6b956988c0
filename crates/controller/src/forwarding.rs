use crate::envelope;
use crate::shared::Shared;
use metadata::Endpoint;
use raft::pb;
use raft::pb::controller_reply::Reply;
use raft::pb::controller_request::Request;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use types::{ErrorCode, limits};

/// A request of this node for the controller, wherever that is.
pub(crate) struct Forward {
    pub request: Request,
    pub deadline: Duration,
    pub reply: oneshot::Sender<Result<Reply, ErrorCode>>,
}

/// Pause before the same question is asked again, unless leadership changes first.
const PAUSE: Duration = Duration::from_millis(20);

/// Carries requests to the controller until the queue closes. At most
/// [`limits::CONTROLLER_QUEUE_MAX`] are under way; more wait in their callers.
pub(crate) async fn forward_all(shared: Arc<Shared>, mut queue: mpsc::Receiver<Forward>) {
    let permits = Arc::new(Semaphore::new(limits::CONTROLLER_QUEUE_MAX));
    while let Some(forward) = queue.recv().await {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        let shared = shared.clone();
        tokio::task::spawn_local(async move {
            let mut reply = forward.reply;
            tokio::select! {
                // A caller that has gone away wants no more attempts.
                () = reply.closed() => {}
                answer = ask_controller(&shared, forward.request, forward.deadline) => {
                    let _ = reply.send(answer);
                }
            }
            drop(permit);
        });
    }
}

/// Asks until the controller answers or `deadline` has passed.
///
/// # Errors
/// What the controller refused with; [`ErrorCode::RequestTimedOut`] at the deadline, and then the request may
/// have been carried out.
pub(crate) async fn ask_controller(
    shared: &Shared,
    mut request: Request,
    deadline: Duration,
) -> Result<Reply, ErrorCode> {
    let start = shared.host.now();
    let mut leadership = shared.leadership.subscribe();
    if let Request::ClusterStatus(pb::ClusterStatusRequest { local: true }) = request {
        return Ok(Reply::ClusterStatus(shared.status()));
    }
    let mut hint: Option<Endpoint> = None;
    loop {
        let spent = shared.host.now().since(start);
        let Some(left) = deadline.checked_sub(spent).filter(|left| !left.is_zero()) else {
            return Err(ErrorCode::RequestTimedOut);
        };
        let (i_lead, leader) = {
            let seen = leadership.borrow_and_update();
            (seen.i_lead, seen.leader.clone())
        };
        let ttl = left.min(shared.options.timings.call_timeout);
        let mut sent = true;
        let reply = if i_lead {
            tokio::time::timeout(ttl, shared.ask_here(request.clone())).await.ok()
        } else if let Some(at) = hint.take().or(leader.map(|(_, at)| at)) {
            let call = envelope::request(shared, request.clone());
            // A call to a node that has just died hangs until its timeout: a change of leadership ends it.
            tokio::select! {
                called = shared.transport.call(&at, call, ttl) => called.ok().and_then(envelope::reply),
                _ = leadership.changed() => None,
            }
        } else {
            sent = false;
            None
        };
        match reply {
            Some(Reply::NotController(other)) => {
                hint = (!other.busy)
                    .then_some(other.leader)
                    .flatten()
                    .and_then(envelope::endpoint);
                if hint.as_ref() == Some(&shared.options.control_advertised) {
                    hint = None;
                }
            }
            Some(Reply::Refusal(refusal)) => return Err(envelope::error_code(refusal.error_code)),
            Some(reply) => return Ok(reply),
            None => {
                if let Request::DeleteTopics(delete) = &mut request {
                    delete.repeated |= sent;
                }
            }
        }
        if hint.is_none() {
            let _ = tokio::time::timeout(PAUSE.min(left), leadership.changed()).await;
        }
    }
}
