//! What a daemon does with EC2: calls one after another, each with a token of the account's
//! bucket, and the time that EC2 takes.

use super::daemon::addresses;
use crate::policy::vpc_cni::ec2_api::ApiCall;
use crate::policy::vpc_cni::pool::{EniId, Range};
use crate::policy::vpc_cni::{Action, Holding};
use crate::units::{Id, Span};
use crate::world::model::SubnetModel;
use std::net::Ipv4Addr;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Addresses or prefixes for an interface.
    Fill(EniId),
    /// A new interface.
    Attach,
    /// Addresses or prefixes are given back.
    Free,
    /// An interface is given back.
    Remove,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// EC2 is asked.
    Ask,
    /// A new interface exists; or one that goes is detached.
    Second,
    /// EC2 has done it; the daemon does not see it yet.
    Settle,
}

#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) kind: Kind,
    /// The pool's wish.
    pub(super) action: Action,
    pub(super) stage: Stage,
    /// The next call of the stage, and how often it was tried.
    pub(super) call: u8,
    pub(super) attempt: u8,
    /// The new interface's own address, or the old one's.
    pub(super) own: Option<(Id<SubnetModel>, u32)>,
    /// Addresses that EC2 gave, or that are given back.
    pub(super) ranges: Vec<(Id<SubnetModel>, Range)>,
    /// Time left once a new interface is attached.
    pub(super) later: Span,
}

impl Operation {
    pub(super) const fn new(kind: Kind, action: Action) -> Self {
        Self {
            kind,
            action,
            stage: Stage::Ask,
            call: 0,
            attempt: 0,
            own: None,
            ranges: Vec::new(),
            later: Span::ZERO,
        }
    }

    /// Calls of the present stage. With discovery the subnets are listed before.
    pub(super) const fn calls(&self, discovery: bool) -> &'static [ApiCall] {
        match (self.kind, self.stage) {
            (Kind::Fill(_), Stage::Ask) => &[ApiCall::AssignPrivateIpAddresses],
            (Kind::Attach, Stage::Ask) if discovery => {
                &[ApiCall::DescribeSubnets, ApiCall::CreateNetworkInterface]
            }
            (Kind::Attach, Stage::Ask) => &[ApiCall::CreateNetworkInterface],
            (Kind::Attach, Stage::Second) => &[
                ApiCall::DescribeInstances,
                ApiCall::AttachNetworkInterface,
                ApiCall::ModifyNetworkInterfaceAttribute,
            ],
            (Kind::Free, Stage::Ask) => &[ApiCall::UnassignPrivateIpAddresses],
            (Kind::Remove, Stage::Ask) => &[ApiCall::DetachNetworkInterface],
            (Kind::Remove, Stage::Second) => &[ApiCall::DeleteNetworkInterface],
            _ => &[],
        }
    }

    /// Addresses that are neither in the pool nor free.
    pub(super) fn holdings(
        &self,
    ) -> impl Iterator<Item = (Id<SubnetModel>, Ipv4Addr, Holding)> + '_ {
        let own = self.own.map(|(s, a)| (s, a.into(), Holding::EniPrimary));
        own.into_iter().chain(self.ranges.iter().flat_map(|&(s, r)| addresses(s, r)))
    }
}
