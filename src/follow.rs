//! What becomes of one object: a watch that outlives an API server.

use futures::{Stream, StreamExt, future};
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};

/// What becomes of the object of this name. A watch that is interrupted, as where an API server is replaced, goes on by itself; it ends only where it is
/// refused.
pub fn changes<K>(api: Api<K>, name: &str) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + use<K>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    // The backoff has seen the error by then, and waits before the next try.
    let goes_on = |event: &Result<watcher::Event<K>, watcher::Error>| event.as_ref().err().is_none_or(is_refused);
    watcher(api, config).default_backoff().filter(move |event| future::ready(goes_on(event)))
}

/// Whether the API server will go on saying no.
pub fn is_refused(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            status.code
        }
        watcher::Error::WatchError(status) => status.code,
        _ => return false,
    };
    matches!(code, 401 | 403)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn a_watch_ends_only_where_it_is_refused() {
        let says = |code: u16| watcher::Error::WatchError(Box::new(Status::failure("no", "No").with_code(code)));
        assert!(is_refused(&says(403)) && is_refused(&says(401)));
        assert!(!is_refused(&says(410)) && !is_refused(&says(500)) && !is_refused(&watcher::Error::NoResourceVersion));
    }
}
