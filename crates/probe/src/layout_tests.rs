use std::collections::BTreeMap;
use std::mem::offset_of;

use libbpf_rs::HasSize as _;
use libbpf_rs::btf::types::{Array, Enum, Int, MemberAttr, Struct};
use libbpf_rs::btf::{Btf, BtfKind, BtfType};

use super::*;
use crate::load::OBJECT;

/// Name → (offset, size) of the members of a struct of the object, and its whole size.
fn members(btf: &Btf<'_>, name: &str) -> (BTreeMap<String, (usize, usize)>, usize) {
    let of: Struct<'_> = btf.type_by_name(name).unwrap_or_else(|| panic!("the object's BTF has no struct {name}"));
    let members = of.iter().map(|member| {
        let MemberAttr::Normal { offset } = member.attr else {
            panic!("{name} has a bit field");
        };
        let size = size_of_type(btf.type_by_id(member.ty).expect("a type"));
        (member.name.expect("a named member").to_string_lossy().into_owned(), (offset as usize / 8, size))
    });
    (members.collect(), of.size())
}

fn size_of_type(of: BtfType<'_>) -> usize {
    let of = of.skip_mods_and_typedefs();
    match of.kind() {
        BtfKind::Int => Int::try_from(of).expect("an integer").size(),
        BtfKind::Struct => Struct::try_from(of).expect("a struct").size(),
        BtfKind::Array => Array::try_from(of).map(|array| array.capacity() * size_of_type(array.contained_type())).expect("an array"),
        kind => panic!("a member of kind {kind:?}"),
    }
}

macro_rules! compare {
    ($btf:expr, $kernel:literal, $ours:ty { $($field:ident),* $(,)? }) => {{
        let (theirs, size) = members($btf, $kernel);
        assert_eq!(size, size_of::<$ours>(), "size of {}", $kernel);
        let mut ours = BTreeMap::new();
        $(
            let width = {
                fn width<T>(_: impl Fn(&$ours) -> &T) -> usize { size_of::<T>() }
                width(|of| &of.$field)
            };
            ours.insert(stringify!($field).to_owned(), (offset_of!($ours, $field), width));
        )*
        assert_eq!(theirs, ours, "members of {}: (offset, size)", $kernel);
        let covered: usize = ours.values().map(|(_, width)| width).sum();
        assert_eq!(covered, size, "{} has holes", $kernel);
    }};
}

#[test]
fn mirrors_match_the_object() {
    let btf = Btf::from_raw("tcp", OBJECT).expect("the object parses").expect("it has BTF");
    let btf = &btf;
    compare!(btf, "flow_key", RawKey { cgroup, netns, service_port, client_port, local, remote, comm, role, flags, protocol, unused });
    compare!(
        btf,
        "flow",
        Counters {
            bytes_sent,
            bytes_received,
            retrans_bytes,
            segs_sent,
            segs_received,
            retrans_segs,
            retrans_syn,
            retrans_synack,
            rto,
            spurious,
            out_of_order,
            busy_us,
            blocked_rwnd_us,
            blocked_sndbuf_us,
            active_ms,
            stalled_ms,
            srtt_us_sum,
            srtt_samples,
            response_us,
            responses,
            connect_attempts,
            connect_established,
            connect_timeout,
            connect_cancelled,
            connect_refused,
            connect_unreachable,
            connect_reset,
            accepts,
            closes,
            resets_sent,
            resets_received,
            resets_explained,
            resets_no_listener,
            resets_aborted,
            accept_overflow,
            receive_drops,
            sent_drops_other,
            sent_drops_policy,
            sent_drops_queue,
            sent_drops_invalid,
            received_drops_other,
            received_drops_policy,
            received_drops_queue,
            received_drops_invalid,
            requests,
            answers_0,
            answers_1,
            answers_2,
            answers_3,
            answers_4,
            unanswered,
            grpc_requests,
            grpc_ok,
            grpc_unavailable,
            grpc_deadline,
            grpc_other,
            grpc_unsaid,
            last_change_ms,
            last_tgid,
            born_ms,
        }
    );
    compare!(btf, "histogram", RawHistogram { counts, max, min_inverted });
    compare!(
        btf,
        "control",
        RawControl {
            epoch,
            scope_cgroup,
            layout,
            scope_mode,
            scope_level,
            window,
            window_label,
            nat,
            split_count,
            tick_us,
            rtt_callback,
            ephemeral_from,
            scope_version,
            packets,
            programs,
            pass_us,
            drops,
            http2_reader,
        }
    );
    compare!(btf, "tally", RawTally { swept, marked_owners, marked_listeners, marked_sockets, marked_without_rtt });
    compare!(btf, "reason_classes", RawClasses { drops, resets });
    compare!(btf, "drop_key", RawDrop { netns, reason });
    compare!(btf, "connection", RawConnection { client, server, client_port, server_port, role, protocol, unused });
    compare!(btf, "real_end", RawRealEnd { address, service_port, masked, unused });
    compare!(btf, "heard", RawHeard { flow, kind, bytes });
    compare!(btf, "http2_record", RawHttp2Record { key, at_ns, id, reader, client_port, bytes, what, by_client, unused, seq });
    compare!(btf, "http2_resumption", RawHttp2Resumption { next, wholes });
    compare!(
        btf,
        "http2_count",
        RawHttp2Count {
            key,
            client_port,
            requests,
            answers,
            unanswered,
            grpc_requests,
            grpc_ok,
            grpc_unavailable,
            grpc_deadline,
            grpc_other,
            grpc_unsaid,
            unreadable,
            times,
            times_us,
        }
    );
    compare!(btf, "owner", RawOwner { cgroup, comm, tgid, unused });
    compare!(btf, "listener_record", RawListener { owner, netns, port, local });
}

/// The kernel side has an array where we have a struct: as many, in the same order.
#[test]
fn losses_match_the_object() {
    let btf = Btf::from_raw("tcp", OBJECT).expect("the object parses").expect("it has BTF");
    let of: Enum<'_> = btf.type_by_name("loss").expect("enum loss");
    let theirs: Vec<String> =
        of.iter().map(|value| value.name.expect("a name").to_string_lossy().trim_start_matches("LOSS_").to_lowercase()).collect();
    let ours = format!("{:?}", Losses::default());
    let ours: Vec<&str> = ours.trim_start_matches("Losses {").split(',').filter_map(|field| Some(field.split_once(':')?.0.trim())).collect();
    assert_eq!(
        theirs.split_last().map(|(count, names)| (count.as_str(), names)),
        Some(("count", &*ours.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()))
    );
    assert_eq!(size_of::<Losses>(), ours.len() * 8);
}

/// What decision 004 says of them.
#[test]
fn the_sizes_of_what_is_kept() {
    let flow = size_of::<RawKey>() + size_of::<Counters>();
    let (histogram, translation) = (size_of::<RawHistogram>(), size_of::<RawConnection>() + size_of::<RawRealEnd>());
    println!("a flow: {flow} bytes, each of its histograms: {histogram}, a translation: {translation}");
    assert_eq!((flow, histogram, translation), (544, 1_632, 64));
}

#[test]
fn keys_survive_the_way_to_the_kernel_and_back() {
    let key = FlowKey {
        netns: 4_026_531_840,
        cgroup: 77,
        comm: Comm::new("a name longer than fifteen bytes"),
        local: "10.0.0.1".parse().expect("an address"),
        remote: "fd00::2".parse().expect("an address"),
        service_port: 443,
        client_port: 50_000,
        role: Role::Server,
        role_inferred: true,
        masked: true,
        is_dns: true,
        protocol: Protocol::Udp,
    };
    assert_eq!(FlowKey::from(&RawKey::from(&key)), key);
    assert_eq!(key.comm.to_str_lossy(), "a name longer t");
    let mut other = RawKey::from(&key);
    other.remote = [0; 16];
    assert_eq!(FlowKey::from(&other).remote, IpAddr::V6(Ipv6Addr::UNSPECIFIED));
}

#[test]
fn histograms_give_extremes_of_the_ended_window_only() {
    let mut raw = RawHistogram { counts: [0; BUCKETS], max: [0; 2], min_inverted: [0; 2] };
    raw.counts[9] = 4;
    raw.max[1] = (7 << 32) | 300;
    raw.min_inverted[1] = (7 << 32) | u64::from(!20u32);
    raw.max[0] = (8 << 32) | 999;
    let ended = raw.reading(7);
    assert_eq!((ended.buckets, ended.max_us, ended.min_us), (vec![(9, 4)], Some(300), Some(20)));
    assert_eq!((raw.reading(9).max_us, raw.reading(9).min_us), (None, None));
}
