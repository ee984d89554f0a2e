//! Renews one Lease, and so the trust that every fence of this process stands on.

use super::{AGAIN, LeaseLost, Leases, RENEW_EVERY, TRUSTED, Trust, view, within};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::{Error, ResourceExt};
use std::time::Duration;
use tokio::time::Instant;

/// A Lease that this process holds and renews.
pub struct Heartbeat<'a> {
    pub leases: &'a Leases,
    pub lease: Lease,
    pub trust: &'a Trust,
}

impl Heartbeat<'_> {
    /// Renews the Lease until it is lost.
    pub async fn keep(&mut self) -> LeaseLost {
        let trust = self.trust;
        let mut why = "it was not renewed".to_owned();
        tokio::select! {
            lost = self.renew(&mut why) => {
                trust.end();
                return lost;
            }
            () = trust.ended() => {}
        }
        LeaseLost::NotRenewed(why)
    }

    /// Returns once it is another's, or gone.
    async fn renew(&mut self, why: &mut String) -> LeaseLost {
        let Leases { api, identity, .. } = self.leases;
        let name = self.lease.name_any();
        let taken = |holder: Option<&str>| LeaseLost::Taken { lease: name.clone(), holder: holder.unwrap_or("nobody").to_owned() };
        let mut wait = RENEW_EVERY;
        loop {
            tokio::time::sleep(wait).await;
            let started = Instant::now();
            if let Some(spec) = &mut self.lease.spec {
                spec.renew_time = Some(MicroTime(jiff::Timestamp::now()));
            }
            wait = match within(api.replace(&name, &PostParams::default(), &self.lease)).await {
                Ok(lease) => {
                    self.lease = lease;
                    self.trust.last_until(started + TRUSTED);
                    RENEW_EVERY
                }
                // Our own write may have arrived although its answer didn't, so a conflict doesn't tell yet that it is another's.
                Err(Error::Api(status)) if status.code == 409 => match within(api.get_opt(&name)).await {
                    Ok(Some(lease)) if view::holder(&lease) == Some(identity) => {
                        self.lease = lease;
                        Duration::ZERO
                    }
                    Ok(found) => return taken(found.as_ref().and_then(view::holder)),
                    Err(error) => {
                        *why = error.to_string();
                        AGAIN
                    }
                },
                // Who judged this process dead, or an admin, has deleted it.
                Err(Error::Api(status)) if status.code == 404 => return taken(None),
                Err(error) => {
                    *why = error.to_string();
                    AGAIN
                }
            };
        }
    }
}
