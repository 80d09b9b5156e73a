//! Numbers that model the world, read once from the constants (shipped values with the scenario's
//! overrides on top). Each field names its constant; `eks-sim catalog constants` lists unit,
//! source and status of each.

use super::{Client, Model};
use crate::catalog::Defaults;
use crate::policy::vpa::{AggregateConfig, Amounts, OomBump, Recommender, UpdateConfig};
use crate::policy::vpc_cni::ec2_api::{API_CALLS, ApiCall, ApiLimits, Bucket};
use crate::units::{Dist, DistF64, Span};

/// Resolved constants.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `api_server.write_latency`.
    pub api_latency: Dist,
    /// Median of `api_server.watch_latency`: one value, so that notices of one object keep order.
    pub watch_delay: Span,
    /// `api_server.request_retry`.
    pub request_retry: Span,
    /// `controller_manager.client_qps`, `client_burst`.
    pub controller_limit: (f64, f64),
    /// `user.eviction_retry`: `kubectl drain` asks again after a refused eviction.
    pub eviction_retry: Span,
    /// `karpenter.client_qps`, `client_burst`.
    pub karpenter_limit: (f64, f64),
    /// `scheduler.initial_backoff`, `max_backoff`, `max_in_unschedulable_pods`,
    /// `unschedulable_flush_interval`.
    pub scheduler_queue: [Span; 4],
    /// `kubelet.node_status_update_frequency`.
    pub node_status_period: Span,
    /// `kubelet.node_status_max_images`.
    pub node_status_max_images: usize,
    /// Times of Karpenter's loops.
    pub karpenter: KarpenterSettings,
    /// `failure.etcd_member_replace`.
    pub etcd_repair: Dist,
    /// `failure.api_server_replace`.
    pub api_server_repair: Dist,
    /// `scheduler.cycle_time`.
    pub scheduler_cycle: Span,
    /// `pod.sandbox_create`.
    pub sandbox: Dist,
    /// `pod.sandbox_retry`.
    pub sandbox_retry: Dist,
    /// `pod.init_container`.
    pub init_container: Dist,
    /// `pod.container_start`.
    pub container_start: Dist,
    /// `pod.application_start`.
    pub application_start: Dist,
    /// `pod.stop_on_sigterm`.
    pub container_stop: Dist,
    /// `kubelet.restart_backoff_initial`.
    pub restart_backoff: Span,
    /// `kubelet.restart_backoff_max`.
    pub restart_backoff_max: Span,
    /// `kubelet.resize_retry`.
    pub resize_retry: Span,
    /// `image.check`: asking the registry about a cached image.
    pub image_check: Span,
    /// `image.registry_latency`.
    pub image_pull_overhead: Dist,
    /// `image.pull_rate_variation`.
    pub image_pull_factor: DistF64,
    /// `image.pull_rate` in bytes a second.
    pub image_pull_rate: f64,
    /// `boot.register_to_ready`.
    pub node_ready: Dist,
    /// `ec2.asg_activity` + `ec2.launch_call` + `ec2.pending_to_running`, drawn as one.
    pub launch_steps: [Dist; 3],
    /// `ec2.launch_retry`.
    pub launch_retry: Span,
    /// `ec2.unhealthy_replace`.
    pub instance_replace_delay: Span,
    /// `ec2.launch_bucket_depth` and the time for one more token, from `ec2.launch_bucket_refill`.
    pub launch_bucket: (u32, Span),
    /// `ec2.zone_rebalance`: how often a group looks at its zones while they are not level.
    pub zone_rebalance: Span,
    /// `ec2.warm_start`: from the activity to a running instance of a stopped warm pool.
    pub warm_start: Dist,
    /// `boot.warm`: from running to registered, out of a warm pool.
    pub warm_boot: Dist,
    /// `boot.gpu_extra`: on top of the image's boot time.
    pub gpu_boot: Dist,
    /// `boot.failure_probability`.
    pub boot_failure: f64,
    /// `spot.rebalance_lead`.
    pub rebalance_lead: Dist,
    /// `spot.shock_share`, and the mean of `spot.shock_size`.
    pub spot_shock: (f64, f64),
    /// `spot.shock_size`.
    pub spot_shock_size: DistF64,
    /// Times of the managed node group service.
    pub node_group: NodeGroupSettings,
    /// Times and limits of Fargate.
    pub fargate: FargateSettings,
    /// Random stock-outs of capacity pools: on-demand, spot.
    pub stockouts: Option<[super::fault_model::StockoutRate; 2]>,
    /// `karpenter.spot_notice`, the two minutes of EC2.
    pub spot_notice: Span,
    /// Whether spot instances are reclaimed at random.
    pub spot_interruptions: bool,
    /// `cloud.node_lifecycle_delay`: from a terminated instance to the deletion of its node.
    pub cloud_node_lifecycle_delay: Span,
    /// Mean of `network.endpoint_propagation`: one value, so that changes of one Service keep order.
    pub endpoint_propagation: Span,
    /// `network.target_registration`.
    pub target_registration: Dist,
    /// `network.address_assign`.
    pub address_assign: Dist,
    /// `network.eni_attach`.
    pub eni_attach: Dist,
    /// `network.eni_detach`.
    pub eni_detach: Dist,
    /// `network.eni_create_share`.
    pub eni_create_share: f64,
    /// `network.trunk_retry`.
    pub trunk_retry: Span,
    /// `network.branch_eni_create`.
    pub branch_eni: Dist,
    /// `ec2.terminate`: an ended instance's addresses come back after it.
    pub instance_end: Dist,
    /// `throttle.*`: token buckets of the EC2 API.
    pub ec2_limits: ApiLimits,
    /// `vpc_cni.leaked_eni_sweep`, `leaked_eni_jitter`, `leaked_eni_min_age`.
    pub leaked_enis: [Span; 3],
    /// `elb.*`: load balancers.
    pub load_balancers: LoadBalancerSettings,
    /// `kubelet.lease_renew_interval`.
    pub lease_renew_interval: Span,
    /// `controller_manager.node_monitor_period`.
    pub node_monitor_period: Span,
    /// `controller_manager.node_monitor_grace_period`, by version.
    pub node_monitor_grace: Span,
    /// `controller_manager.node_eviction_rate`.
    pub node_eviction_rate: f64,
    /// `controller_manager.secondary_node_eviction_rate`.
    pub secondary_node_eviction_rate: f64,
    /// `controller_manager.unhealthy_zone_threshold`.
    pub unhealthy_zone_threshold: f64,
    /// `controller_manager.large_cluster_size_threshold`.
    pub large_cluster_size_threshold: u32,
    /// `controller_manager.pod_gc_interval`.
    pub pod_gc_period: Span,
    /// `controller_manager.pod_gc_quarantine`.
    pub pod_gc_quarantine: Span,
    /// `failure.az_event_duration`.
    pub zone_outage: Dist,
    /// `hpa.sync_period`.
    pub hpa_sync: Span,
    /// `hpa.tolerance`.
    pub hpa_tolerance: f64,
    /// `hpa.downscale_stabilization`.
    pub hpa_downscale_stabilization: Span,
    /// `hpa.cpu_initialization_period`.
    pub hpa_cpu_initialization: Span,
    /// `hpa.initial_readiness_delay`.
    pub hpa_initial_readiness_delay: Span,
    /// Times of the metrics pipeline.
    pub metrics: MetricsSettings,
    /// The VPA's flags.
    pub vpa: VpaSettings,
    /// `job.sync_batch`.
    pub job_sync: Span,
    /// `storage.ebs_create`, `ebs_attach`, `ebs_detach`, `format_and_mount`.
    pub ebs: [Dist; 4],
    /// `ebs_csi.force_detach_wait`.
    pub force_detach: Span,
}

/// Times of the managed node group service.
#[derive(Clone, Copy, Debug)]
pub struct NodeGroupSettings {
    /// `node_group.poll`.
    pub poll: Span,
    /// `node_group.eviction_timeout`.
    pub eviction_timeout: Span,
    /// `node_group.cordon_wait`.
    pub cordon_wait: Span,
    /// `node_group.join_timeout`.
    pub join_timeout: Span,
    /// `node_group.surge_per_zone`.
    pub surge_per_zone: u32,
}

/// Times and limits of Fargate.
#[derive(Clone, Debug)]
pub struct FargateSettings {
    /// `fargate.pod_start`.
    pub start: Dist,
    /// `fargate.start_failure_probability`.
    pub start_failure: f64,
    /// `image.fargate_pull_rate` in bytes a second.
    pub pull_rate: f64,
    /// `quota.fargate_launch_burst`.
    pub launch_burst: u32,
    /// From `quota.fargate_launch_rate`.
    pub launch_interval: Span,
    /// `fargate.retry`.
    pub retry: Span,
    /// `price.fargate_minimum_bill`.
    pub minimum_bill: Span,
}

/// Times of Karpenter's loops.
#[derive(Clone, Copy, Debug)]
pub struct KarpenterSettings {
    /// `karpenter.disruption_poll`.
    pub disruption_poll: Span,
    /// `karpenter.disruption_repeat`.
    pub disruption_repeat: Span,
    /// `karpenter.drift_check`.
    pub drift_check: Span,
    /// `karpenter.repair_toleration`.
    pub repair_toleration: Span,
    /// `karpenter.pod_requeue`.
    pub pod_requeue: Span,
}

/// Times and sizes of load balancers.
#[derive(Clone, Debug)]
pub struct LoadBalancerSettings {
    /// `elb.create`.
    pub create: Dist,
    /// `elb.retry_first`.
    pub retry_first: Span,
    /// `elb.retry_longest`.
    pub retry_longest: Span,
    /// `elb.requests_per_address`: requests a second that one address carries.
    pub requests_per_address: f64,
    /// `elb.grow`: how long one address more takes.
    pub grow: Dist,
    /// `elb.shrink_after`: how long fewer must do before addresses are given back.
    pub shrink_after: Span,
}

/// Times of the metrics pipeline.
#[derive(Clone, Copy, Debug)]
pub struct MetricsSettings {
    /// `metrics_server.resolution`.
    pub resolution: Span,
    /// `metrics_server.store_delay`: from the beginning of a scrape until its result is served.
    pub store_delay: Span,
    /// `metrics_server.housekeeping_interval`: how often the kubelet measures a container.
    pub housekeeping: Span,
    /// `metrics_server.fresh_container_min`.
    pub fresh_container_min: Span,
    /// `metrics_adapter.scrape_interval`: how often custom metrics of Services are taken.
    pub adapter_interval: Span,
}

impl MetricsSettings {
    fn new(d: &Defaults) -> Self {
        let least = Span::from_millis(1);
        Self {
            resolution: d.span("metrics_server.resolution").max(least),
            store_delay: d.span("metrics_server.store_delay"),
            housekeeping: d.span("metrics_server.housekeeping_interval").max(least),
            fresh_container_min: d.span("metrics_server.fresh_container_min"),
            adapter_interval: d.span("metrics_adapter.scrape_interval").max(least),
        }
    }
}

/// The VPA's flags.
#[derive(Clone, Copy, Debug)]
pub struct VpaSettings {
    /// `vpa.recommender_interval`.
    pub recommender_period: Span,
    /// `vpa.updater_interval`.
    pub updater_period: Span,
    /// How samples are kept.
    pub aggregation: AggregateConfig,
    /// How they become a recommendation.
    pub recommender: Recommender,
    /// Which pods are changed.
    pub update: UpdateConfig,
    /// `vpa.eviction_rate_limit` a second and `vpa.eviction_rate_burst`; a negative limit is none.
    pub eviction_rate: (f64, f64),
}

impl VpaSettings {
    fn new(d: &Defaults) -> Self {
        let pod_minimum = Amounts {
            cpu: Some(d.quantity("vpa.pod_min_cpu").milli_value()),
            memory: Some(d.quantity("vpa.pod_min_memory").value()),
        };
        let half_life = d.span("vpa.half_life");
        let least = Span::from_millis(1);
        Self {
            recommender_period: d.span("vpa.recommender_interval").max(least),
            updater_period: d.span("vpa.updater_interval").max(least),
            aggregation: AggregateConfig {
                memory_interval: d.span("vpa.memory_aggregation_interval").max(least),
                memory_intervals: d.i64("vpa.memory_aggregation_interval_count").max(1) as u64,
                cpu_half_life: half_life.max(least),
                memory_half_life: half_life.max(least),
                cpu_weight: d.f64("vpa.cpu_sample_weight"),
                oom: OomBump {
                    ratio: d.f64("vpa.oom_bump_up_ratio"),
                    min_bytes: d.i64("vpa.oom_min_bump_up"),
                },
            },
            recommender: Recommender {
                target_percentile: d.f64("vpa.target_percentile"),
                lower_bound_percentile: d.f64("vpa.lower_bound_percentile"),
                upper_bound_percentile: d.f64("vpa.upper_bound_percentile"),
                margin_fraction: d.f64("vpa.safety_margin"),
                pod_minimum,
                ..Recommender::default()
            },
            update: UpdateConfig {
                min_change_priority: d.f64("vpa.pod_update_threshold"),
                lifetime_threshold: d
                    .span("vpa.in_recommendation_bounds_eviction_lifetime_threshold"),
                evict_after_oom: d.span("vpa.evict_after_oom_threshold"),
                eviction_tolerance: d.f64("vpa.eviction_tolerance").clamp(0.0, 1.0),
                min_replicas: i32::try_from(d.i64("vpa.min_replicas")).unwrap_or(i32::MAX),
                skip_disruption_budget: false,
            },
            eviction_rate: (d.f64("vpa.eviction_rate_limit"), d.f64("vpa.eviction_rate_burst")),
        }
    }
}

impl Settings {
    /// Reads all constants.
    ///
    /// # Panics
    /// When a shipped constant is missing, which a test rules out; overrides are checked before.
    /// # Errors
    /// Name and problem of a distribution that an override spoils.
    #[expect(clippy::too_many_lines, reason = "one line for each constant")]
    pub fn new(d: &Defaults, minor_version: u32) -> Result<Self, (String, String)> {
        let grace = if minor_version >= 32 {
            "controller_manager.node_monitor_grace_period"
        } else {
            "controller_manager.node_monitor_grace_period_before_1_32"
        };
        Ok(Self {
            api_latency: dist(d, "api_server.write_latency")?,
            watch_delay: median(&dist(d, "api_server.watch_latency")?),
            request_retry: d.span("api_server.request_retry"),
            controller_limit: (
                d.f64("controller_manager.client_qps"),
                d.i64("controller_manager.client_burst") as f64,
            ),
            eviction_retry: d.span("user.eviction_retry"),
            karpenter_limit: (
                d.f64("karpenter.client_qps"),
                d.i64("karpenter.client_burst") as f64,
            ),
            scheduler_queue: [
                d.span("scheduler.initial_backoff"),
                d.span("scheduler.max_backoff"),
                d.span("scheduler.max_in_unschedulable_pods"),
                d.span("scheduler.unschedulable_flush_interval"),
            ],
            node_status_period: d.span("kubelet.node_status_update_frequency"),
            node_status_max_images: usize::try_from(d.i64("kubelet.node_status_max_images"))
                .unwrap_or(50),
            karpenter: KarpenterSettings {
                disruption_poll: d.span("karpenter.disruption_poll"),
                disruption_repeat: d.span("karpenter.disruption_repeat"),
                pod_requeue: d.span("karpenter.pod_requeue"),
                drift_check: d.span("karpenter.drift_check"),
                repair_toleration: d.span("karpenter.repair_toleration"),
            },
            etcd_repair: dist(d, "failure.etcd_member_replace")?,
            api_server_repair: dist(d, "failure.api_server_replace")?,
            scheduler_cycle: d.span("scheduler.cycle_time"),
            sandbox: dist(d, "pod.sandbox_create")?,
            sandbox_retry: dist(d, "pod.sandbox_retry")?,
            init_container: dist(d, "pod.init_container")?,
            container_start: dist(d, "pod.container_start")?,
            application_start: dist(d, "pod.application_start")?,
            container_stop: dist(d, "pod.stop_on_sigterm")?,
            restart_backoff: d.span("kubelet.restart_backoff_initial"),
            restart_backoff_max: d.span("kubelet.restart_backoff_max"),
            resize_retry: d.span("kubelet.resize_retry"),
            image_check: d.span("image.check"),
            image_pull_overhead: dist(d, "image.registry_latency")?,
            image_pull_factor: dist(d, "image.pull_rate_variation")?,
            image_pull_rate: d.f64("image.pull_rate") * 1e6,
            node_ready: dist(d, "boot.register_to_ready")?,
            launch_steps: [
                dist(d, "ec2.asg_activity")?,
                dist(d, "ec2.launch_call")?,
                dist(d, "ec2.pending_to_running")?,
            ],
            launch_retry: d.span("ec2.launch_retry"),
            instance_replace_delay: d.span("ec2.unhealthy_replace"),
            launch_bucket: (
                u32::try_from(d.i64("ec2.launch_bucket_depth")).unwrap_or(u32::MAX),
                Span::from_secs_f64(1.0 / d.f64("ec2.launch_bucket_refill").max(1e-3)),
            ),
            zone_rebalance: d.span("ec2.zone_rebalance").max(Span::from_secs(1)),
            warm_start: dist(d, "ec2.warm_start")?,
            warm_boot: dist(d, "boot.warm")?,
            gpu_boot: dist(d, "boot.gpu_extra")?,
            boot_failure: d.f64("boot.failure_probability"),
            rebalance_lead: dist(d, "spot.rebalance_lead")?,
            spot_shock: (
                d.f64("spot.shock_share").clamp(0.0, 1.0),
                mean(&dist(d, "spot.shock_size")?).clamp(1e-3, 1.0),
            ),
            spot_shock_size: dist(d, "spot.shock_size")?,
            node_group: NodeGroupSettings {
                poll: d.span("node_group.poll").max(Span::from_millis(100)),
                eviction_timeout: d.span("node_group.eviction_timeout"),
                cordon_wait: d.span("node_group.cordon_wait"),
                join_timeout: d.span("node_group.join_timeout"),
                surge_per_zone: u32::try_from(d.i64("node_group.surge_per_zone")).unwrap_or(2),
            },
            fargate: FargateSettings {
                start: dist(d, "fargate.pod_start")?,
                start_failure: d.f64("fargate.start_failure_probability"),
                pull_rate: d.f64("image.fargate_pull_rate") * 1e6,
                launch_burst: u32::try_from(d.i64("quota.fargate_launch_burst")).unwrap_or(100),
                launch_interval: Span::from_secs_f64(
                    1.0 / d.f64("quota.fargate_launch_rate").max(1e-3),
                ),
                retry: d.span("fargate.retry"),
                minimum_bill: d.span("price.fargate_minimum_bill"),
            },
            stockouts: None,
            spot_notice: d.span("karpenter.spot_notice"),
            spot_interruptions: false,
            cloud_node_lifecycle_delay: d.span("cloud.node_lifecycle_delay"),
            endpoint_propagation: median(&dist(d, "network.endpoint_propagation")?),
            target_registration: dist(d, "network.target_registration")?,
            address_assign: dist(d, "network.address_assign")?,
            eni_attach: dist(d, "network.eni_attach")?,
            eni_detach: dist(d, "network.eni_detach")?,
            eni_create_share: d.f64("network.eni_create_share").clamp(0.0, 1.0),
            trunk_retry: d.span("network.trunk_retry"),
            branch_eni: dist(d, "network.branch_eni_create")?,
            instance_end: dist(d, "ec2.terminate")?,
            ec2_limits: ec2_limits(d),
            leaked_enis: [
                d.span("vpc_cni.leaked_eni_sweep"),
                d.span("vpc_cni.leaked_eni_jitter"),
                d.span("vpc_cni.leaked_eni_min_age"),
            ],
            load_balancers: LoadBalancerSettings {
                create: dist(d, "elb.create")?,
                retry_first: d.span("elb.retry_first"),
                retry_longest: d.span("elb.retry_longest"),
                requests_per_address: d.f64("elb.requests_per_address"),
                grow: dist(d, "elb.grow")?,
                shrink_after: d.span("elb.shrink_after"),
            },
            lease_renew_interval: d.span("kubelet.lease_renew_interval"),
            node_monitor_period: d.span("controller_manager.node_monitor_period"),
            node_monitor_grace: d.span(grace),
            node_eviction_rate: d.f64("controller_manager.node_eviction_rate"),
            secondary_node_eviction_rate: d.f64("controller_manager.secondary_node_eviction_rate"),
            unhealthy_zone_threshold: d.f64("controller_manager.unhealthy_zone_threshold"),
            large_cluster_size_threshold: u32::try_from(
                d.i64("controller_manager.large_cluster_size_threshold"),
            )
            .unwrap_or(u32::MAX),
            pod_gc_period: d.span("controller_manager.pod_gc_interval"),
            pod_gc_quarantine: d.span("controller_manager.pod_gc_quarantine"),
            zone_outage: dist(d, "failure.az_event_duration")?,
            hpa_sync: d.span("hpa.sync_period"),
            hpa_tolerance: d.f64("hpa.tolerance"),
            hpa_downscale_stabilization: d.span("hpa.downscale_stabilization"),
            hpa_cpu_initialization: d.span("hpa.cpu_initialization_period"),
            hpa_initial_readiness_delay: d.span("hpa.initial_readiness_delay"),
            metrics: MetricsSettings::new(d),
            vpa: VpaSettings::new(d),
            job_sync: d.span("job.sync_batch"),
            ebs: [
                dist(d, "storage.ebs_create")?,
                dist(d, "storage.ebs_attach")?,
                dist(d, "storage.ebs_detach")?,
                dist(d, "storage.format_and_mount")?,
            ],
            force_detach: d.span("ebs_csi.force_detach_wait"),
        })
    }

    /// Requests a second and burst of a client; zero is no limit.
    #[must_use]
    pub fn client_limit(&self, client: Client, model: &Model) -> (f64, f64) {
        match client {
            Client::Scheduler => {
                (model.control_plane.scheduler_qps, model.control_plane.scheduler_burst)
            }
            Client::Karpenter => self.karpenter_limit,
            Client::Kubelet | Client::User | Client::NodeGroup | Client::Fargate => (0.0, 0.0),
            _ => self.controller_limit,
        }
    }
}

/// The mean of a distribution of shares, by its quantiles.
fn mean(dist: &DistF64) -> f64 {
    let points = 1000_u32;
    let sum: f64 = (0..points)
        .map(|i| dist.sample((f64::from(i) + 0.5) / f64::from(points)).clamp(0.0, 1.0))
        .sum();
    sum / f64::from(points)
}

/// The buckets of the EC2 actions that interfaces and addresses need.
fn ec2_limits(d: &Defaults) -> ApiLimits {
    let bucket = |name: &str| Bucket {
        depth: u32::try_from(d.i64(&format!("throttle.{name}_bucket"))).unwrap_or(1),
        refill: Span::from_secs_f64(1.0 / d.f64(&format!("throttle.{name}_refill")).max(1e-6)),
    };
    let mut limits = ApiLimits([bucket("mutating"); API_CALLS]);
    for (call, name) in [
        (ApiCall::DescribeSubnets, "nonmutating"),
        (ApiCall::DescribeInstances, "nonmutating"),
        (ApiCall::CreateNetworkInterface, "create_eni"),
        (ApiCall::AttachNetworkInterface, "attach_eni"),
        (ApiCall::AssignPrivateIpAddresses, "assign_private_ip"),
    ] {
        limits.0[call as usize] = bucket(name);
    }
    limits
}

fn median(dist: &Dist) -> Span {
    dist.sample_span(0.5)
}

fn dist<D: serde::de::DeserializeOwned>(d: &Defaults, name: &str) -> Result<D, (String, String)> {
    serde_json::from_value(d.dist(name).clone()).map_err(|e| (name.to_owned(), e.to_string()))
}
