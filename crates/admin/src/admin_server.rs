use crate::NodeState;
use crate::view::{Answer, View};
use bytes::Bytes;
use host::{HostRef, Incoming, Listener};
use http_body_util::Full;
use hyper::body::Incoming as Body;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use types::limits;

/// Pause after the system refused to accept a connection (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The port cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ListenError(String);

/// The HTTP server of a node, on a thread of its own. It ends when this is dropped.
pub struct AdminServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl AdminServer {
    /// Listens on `name:port`, where port 0 picks one, and answers from what `state` holds then.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn start(host: HostRef, name: &str, port: u16, state: NodeState) -> Result<Self, ListenError> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, start) = oneshot::channel();
        let (own_host, name) = (host.clone(), name.to_owned());
        let body = move || -> futures::future::LocalBoxFuture<'static, ()> {
            Box::pin(async move {
                let listening = own_host.net().listen(&name, port).await;
                let listening = listening.and_then(|listener| Ok((listener.local_addr()?, listener)));
                let listener = match listening {
                    Ok((address, listener)) => {
                        // Whoever started us may have given up.
                        let _ = started.send(Ok(address));
                        listener
                    }
                    Err(error) => {
                        let _ = started.send(Err(ListenError(error.to_string())));
                        return;
                    }
                };
                let view = Rc::new(View::new(own_host, state));
                let follower = view.clone();
                let following = tokio::task::spawn_local(async move { follower.follow().await });
                tokio::select! {
                    () = accept_all(listener, &view) => {}
                    // An error: the server was dropped.
                    _ = stopped => {}
                }
                following.abort();
            })
        };
        let ended = host.spawn_thread("admin", Box::new(body));
        let address = start.await.map_err(|_| ListenError("its thread ended".to_owned()))??;
        Ok(Self { address, stop, ended })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops, and returns when the port is free.
    pub async fn stop(self) {
        let Self { ended, stop, .. } = self;
        drop(stop);
        // An error: the thread has ended in another way.
        let _ = ended.await;
    }
}

async fn accept_all(mut listener: Box<dyn Listener>, view: &Rc<View>) {
    let places = Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS_MAX));
    loop {
        let incoming = match listener.accept().await {
            Ok(incoming) => incoming,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to admin.listener");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // With all places taken the connection is closed at once: each of them is free again soon.
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let view = view.clone();
            tokio::task::spawn_local(async move {
                serve(incoming, view).await;
                drop(place);
            });
        }
    }
}

/// Bounded in what it reads, and in time, whatever the other end does.
async fn serve(incoming: Box<dyn Incoming>, view: Rc<View>) {
    let Ok(stream) = incoming.attach() else { return };
    let service = service_fn(move |request: Request<Body>| {
        let response = respond(&view, &request);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::ADMIN_HEAD_TIMEOUT)
        .max_headers(limits::ADMIN_HEADERS_MAX)
        .max_buf_size(limits::ADMIN_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(limits::ADMIN_CONNECTION_LIFE, connection).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to admin.listener broke off"),
    }
}

fn respond(view: &View, request: &Request<Body>) -> Response<Full<Bytes>> {
    let answer = if matches!(*request.method(), Method::GET | Method::HEAD) {
        view.answer(request.uri().path())
    } else {
        Answer {
            status: 405,
            content_type: "text/plain; charset=utf-8",
            text: "only GET and HEAD are served here\n".to_owned(),
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.text)));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if answer.status == 405 {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(test)]
mod tests;
