//! Releases, their coordinator and the tenants' own passes, step by step in any order: what must hold after each step, and at the end.

use super::advance::advance;
use super::target::{has_begun, is_admitted, ordered, target};
use crate::api::conditions::{self, Verdict};
use crate::api::tenant::{CurrentRelease, TenantStatus};
use crate::api::{Release, Tenant};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    /// The coordinator looks.
    Look,
    /// A tenant's own process does.
    Pass(usize),
    /// What a tenant is on its way to has arrived, or failed.
    Arrive(usize, bool),
    /// Time passes.
    Wait(i64),
    Publish,
    Pause(usize, bool),
    RollBack(usize),
    Skip(usize, usize),
    Suspend(usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let tenant = 0..TENANTS;
    prop_oneof![
        8 => Just(Step::Look),
        16 => tenant.clone().prop_map(Step::Pass),
        12 => (tenant.clone(), prop::bool::weighted(0.97)).prop_map(|(tenant, well)| Step::Arrive(tenant, well)),
        3 => (1i64..4000).prop_map(Step::Wait),
        1 => Just(Step::Publish),
        1 => (0usize..4, any::<bool>()).prop_map(|(release, paused)| Step::Pause(release, paused)),
        1 => (0usize..4).prop_map(Step::RollBack),
        1 => (0usize..4, 0usize..3).prop_map(|(release, wave)| Step::Skip(release, wave)),
        1 => (tenant, any::<bool>()).prop_map(|(tenant, suspended)| Step::Suspend(tenant, suspended)),
    ]
}

const TENANTS: usize = 24;
const CONCURRENCY: usize = 3;

struct World {
    now: Timestamp,
    tenants: Vec<Tenant>,
    releases: Vec<Release>,
}

impl World {
    fn new() -> Self {
        let tenants = (0..TENANTS).map(|number| {
            let mut release = json!({});
            if number % 4 == 1 {
                release["window"] = json!({"from": "22:00", "to": "04:00", "timeZone": "Europe/Berlin"});
            }
            if number % 7 == 2 {
                release["hold"] = json!({"until": "2026-12-01T00:00:00Z"});
            }
            let spec = json!({"displayName": "A", "blueprint": "planner", "plan": "p", "release": release});
            let mut tenant = Tenant::new(&format!("t{number:02}"), serde_json::from_value(spec).unwrap());
            tenant.metadata.uid = Some(format!("uid-{number}"));
            tenant.status = Some(TenantStatus { version: Some("0".to_owned()), ..TenantStatus::default() });
            if number % 5 == 0 {
                tenant.metadata.labels = Some(BTreeMap::from([("ring".to_owned(), "internal".to_owned())]));
            }
            tenant
        });
        let mut world = Self { now: "2026-11-29T12:00:00Z".parse().unwrap(), tenants: tenants.collect(), releases: Vec::new() };
        world.publish();
        world
    }

    fn publish(&mut self) {
        let number = self.releases.len() + 1;
        let waves = json!([
            {"name": "own", "match": {"ring": "internal"}, "percent": 100, "concurrency": CONCURRENCY, "skip": false},
            {"name": "canary", "percent": 20, "soak": "30m", "concurrency": CONCURRENCY, "skip": false},
            {"name": "rest", "percent": 100, "concurrency": CONCURRENCY, "skip": false},
        ]);
        let spec = json!({"blueprint": "planner", "version": number.to_string(), "channel": "stable", "waves": waves,
            "health": {"maxFailed": 2, "within": "9999h"}, "onFailure": "Pause"});
        let mut release = Release::new(&format!("planner-{number}"), serde_json::from_value(spec).unwrap());
        release.metadata.uid = Some(format!("release-{number}"));
        release.metadata.generation = Some(1);
        let status = json!({"observedGeneration": 1, "revision": number, "snapshot": release.name_any()});
        release.status = serde_json::from_value(status).unwrap();
        self.releases.push(release);
    }

    fn look(&mut self) {
        let tenants: Vec<_> = self.tenants.iter().cloned().map(Arc::new).collect();
        for index in 0..self.releases.len() {
            let newer = self.releases[index + 1..].iter().rfind(|newer| !newer.is_rolled_back());
            let mut release = self.releases[index].clone();
            release.status = Some(advance(&release, newer, &tenants, self.now).status);
            // What is looked at again at once says the same, or the operator would never come to rest.
            let again = advance(&release, newer, &tenants, self.now);
            assert_eq!(release.status, Some(again.status), "{} is written twice", release.name_any());
            self.releases[index] = release;
        }
    }

    fn change(&mut self, index: usize, change: impl FnOnce(&mut Release)) {
        if let Some(release) = self.releases.get_mut(index) {
            let before = release.spec.clone();
            change(release);
            if release.spec != before {
                release.metadata.generation = release.metadata.generation.map(|generation| generation + 1);
            }
        }
    }

    fn ordered(&self) -> Vec<Arc<Release>> {
        ordered(self.releases.iter().cloned().map(Arc::new), "planner")
    }

    /// The release that a tenant's status speaks of.
    fn current(&self, tenant: &Tenant) -> Option<&Release> {
        let uid = &tenant.status.as_ref()?.release.as_ref()?.uid;
        self.releases.iter().find(|release| release.metadata.uid.as_ref() == Some(uid))
    }

    fn pass(&mut self, index: usize) {
        let releases = self.ordered();
        let tenant = &self.tenants[index];
        let chosen = target(tenant, &releases, self.now);
        let wanted = chosen.release.map(|release| (release.name_any(), release.uid().unwrap(), release.revision()));
        let current = self.current(tenant);
        let (was, is) = (current.and_then(Release::revision), wanted.as_ref().and_then(|(_, _, revision)| *revision));
        if was == is {
            return;
        }
        let rolled_back = current.is_some_and(Release::is_rolled_back);
        // A tenant that has none is at what came before all of them.
        assert!(is > was || rolled_back, "{} goes from {was:?} to {is:?}, and nobody rolled that back", tenant.name_any());
        if let Some(release) = chosen.release.filter(|release| !rolled_back && !has_begun(tenant, release)) {
            assert!(
                release.goes_on() || release.is_complete(),
                "{} begins with {}, which is stopped",
                tenant.name_any(),
                release.name_any()
            );
        }
        let mut status = tenant.status.clone().unwrap_or_default();
        let mut before: Vec<String> =
            status.release.iter().flat_map(|release| [vec![release.uid.clone()], release.before.clone()].concat()).collect();
        before.dedup();
        status.release = wanted.map(|(name, uid, _)| CurrentRelease { name, uid, since: Time(self.now), before });
        self.tenants[index].status = Some(status);
        self.is_ready(index, false, false);
    }

    fn is_ready(&mut self, index: usize, ready: bool, stalled: bool) {
        let now = Time(self.now);
        let status = self.tenants[index].status.get_or_insert_with(TenantStatus::default);
        let mut verdicts = vec![Verdict::new(conditions::READY, ready, "Some", "some")];
        verdicts.extend(stalled.then(|| Verdict::new(conditions::STALLED, true, "MigrationFailed", "some")));
        status.conditions = conditions::merge(&status.conditions, &verdicts, 1, &now);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Look => self.look(),
            Step::Pass(tenant) => self.pass(tenant),
            Step::Arrive(tenant, well) => {
                if self.tenants[tenant].status.is_some() {
                    self.is_ready(tenant, well, !well);
                }
            }
            Step::Wait(seconds) => self.now += SignedDuration::from_secs(seconds),
            Step::Publish if self.releases.len() < 4 => self.publish(),
            Step::Publish => {}
            Step::Pause(release, paused) => self.change(release, |release| release.spec.paused = paused),
            Step::RollBack(release) => self.change(release, |release| release.spec.rolled_back = true),
            Step::Skip(release, wave) => self.change(release, |release| release.spec.waves[wave].skip = wave < 2),
            Step::Suspend(tenant, suspended) => self.tenants[tenant].spec.suspended = suspended,
        }
    }

    /// Those who are on their way to a release, or may begin.
    fn in_motion(&self, release: &Release) -> usize {
        let uid = release.metadata.uid.as_deref();
        let moves = |tenant: &&Tenant| {
            let status = tenant.status.as_ref();
            let current = status.and_then(|status| status.release.as_ref()).map(|current| current.uid.as_str());
            let settled = status.is_some_and(|status| {
                conditions::is_true(&status.conditions, conditions::READY) || conditions::is_true(&status.conditions, conditions::STALLED)
            });
            match current == uid {
                true => !settled && !tenant.spec.suspended,
                false => !has_begun(tenant, release) && is_admitted(tenant, release, self.now),
            }
        };
        self.tenants.iter().filter(moves).count()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn nobody_goes_back_unasked_or_begins_with_what_is_stopped(steps in prop::collection::vec(step(), 1..400)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
    }

    #[test]
    fn no_more_are_on_their_way_than_may_be(steps in prop::collection::vec(step(), 1..400)) {
        let mut world = World::new();
        for step in steps {
            // Who comes back into service, or is let out of a wave that is skipped, begins when it likes; and what failed may move again.
            if !matches!(step, Step::Suspend(..) | Step::Skip(..) | Step::Arrive(_, false) | Step::RollBack(_)) {
                world.take(step);
            }
            let newest = world.releases.last().unwrap();
            if !newest.is_complete() {
                let in_motion = world.in_motion(newest);
                prop_assert!(in_motion <= CONCURRENCY, "{} are on their way to {}", in_motion, newest.name_any());
            }
        }
    }
}

proptest! {
    // Each goes on for days.
    #![proptest_config(ProptestConfig { cases: 25, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happened_every_tenant_comes_to_the_last_release_once_nobody_stops_it(steps in prop::collection::vec(step(), 1..300)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.publish();
        let last = world.releases.len() - 1;
        for tenant in 0..TENANTS {
            world.take(Step::Suspend(tenant, false));
        }
        for _ in 0..1000 {
            world.look();
            for tenant in 0..TENANTS {
                world.pass(tenant);
                world.is_ready(tenant, true, false);
            }
            world.now += SignedDuration::from_secs(1200);
            let has_it = |tenant: &Tenant| world.current(tenant).is_some_and(|release| release.revision() == world.releases[last].revision());
            if world.releases[last].is_complete() && world.tenants.iter().all(has_it) {
                break;
            }
        }
        prop_assert!(world.releases[last].is_complete(), "{:#?}", world.releases[last].status);
        for tenant in &world.tenants {
            prop_assert_eq!(world.current(tenant).and_then(Release::revision), world.releases[last].revision(), "{}", tenant.name_any());
        }
    }
}

#[test]
fn a_percentage_is_of_all_rounded_up_and_everybody_comes_last() {
    let mut world = World::new();
    world.look();
    let uid = world.releases[0].uid().unwrap();
    let lots = |world: &World| -> Vec<_> { world.tenants.iter().map(|tenant| super::Lot::draw(&uid, &tenant.uid().unwrap())).collect() };
    let within = |world: &World, wave: usize| {
        let bound = world.releases[0].status.as_ref().unwrap().waves[wave].bound();
        lots(world).into_iter().filter(|lot| bound.is_some_and(|bound| *lot <= bound)).count()
    };
    for round in 0..200 {
        (0..TENANTS).for_each(|tenant| {
            world.pass(tenant);
            world.is_ready(tenant, true, false);
        });
        world.look();
        world.now += SignedDuration::from_secs(1200);
        if round == 0 {
            assert_eq!(within(&world, 0), TENANTS);
        }
    }
    assert_eq!(within(&world, 1), TENANTS.div_ceil(5));
    assert_eq!(within(&world, 2), TENANTS);
}
