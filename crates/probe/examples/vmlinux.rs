//! Writes `bpf/vmlinux.h`: the kernel types that the BPF programs use, cut down to the fields that they read.
//!
//! `make vmlinux` (`EDGESCOPE_SKIP_BPF=1 cargo run -p edgescope-probe --example vmlinux bpf/vmlinux.h`) on any kernel with BTF. Layouts do not matter: every
//! access is relocated by name when the programs are loaded (CO-RE). A type or field that this kernel lacks is left
//! out with a comment, so that the compiler then names the line that needs it.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt::Write as _;
use std::ptr;

use libbpf_sys as sys;

/// Printed whole, with all they embed.
const WHOLE: &[&str] = &[
    "__u8",
    "__u16",
    "__u32",
    "__u64",
    "__s16",
    "__s32",
    "__s64",
    "u8",
    "u16",
    "u32",
    "u64",
    "s16",
    "s32",
    "s64",
    "__be16",
    "__be32",
    "__wsum",
    "pid_t",
    "bool",
    "atomic_t",
    "possible_net_t",
    "in6_addr",
    "sk_buff_data_t",
    "socket_lock_t",
    "bpf_iter__tcp",
    "bpf_iter__task_file",
    "bpf_iter__bpf_sk_storage_map",
    "bpf_iter__bpf_map_elem",
    "bpf_sock_ops",
    "bpf_sock",
    "bpf_tcp_sock",
    "__sk_buff",
];

/// Printed with these fields only; what is embedded comes first.
const CUT: &[(&str, &[&str])] = &[
    ("ns_common", &["inum"]),
    ("net", &["ns"]),
    ("kernfs_node", &["id"]),
    ("cgroup", &["level", "kn", "ancestors"]),
    ("sock_cgroup_data", &["cgroup"]),
    ("task_struct", &["group_leader", "tgid", "comm"]),
    ("bpf_iter_meta", &["seq"]),
    ("net_device", &["nd_net"]),
    ("sk_buff_head", &["prev", "qlen"]),
    ("sock_extended_err", &["ee_errno"]),
    ("sock_exterr_skb", &["ee"]),
    ("sk_buff", &["sk", "dev", "end", "head", "network_header", "transport_header", "cb"]),
    ("skb_shared_info", &["gso_segs"]),
    (
        "sock_common",
        &[
            "skc_daddr",
            "skc_rcv_saddr",
            "skc_dport",
            "skc_num",
            "skc_family",
            "skc_state",
            "skc_net",
            "skc_v6_daddr",
            "skc_v6_rcv_saddr",
            "skc_flags",
        ],
    ),
    ("sock", &["__sk_common", "sk_drops", "sk_error_queue", "sk_err", "sk_err_soft", "sk_lock", "sk_protocol", "sk_userlocks", "sk_cgrp_data"]),
    ("socket", &["sk"]),
    ("request_sock", &["__req_common"]),
    ("inet_sock", &["sk", "inet_sport"]),
    ("inet_connection_sock", &["icsk_inet", "icsk_backoff", "icsk_ack"]),
    ("tcp_rack", &["rtt_us"]),
    (
        "tcp_sock",
        &[
            "inet_conn",
            "data_segs_out",
            "lsndtime",
            "chrono_type",
            "chrono_start",
            "chrono_stat",
            "write_seq",
            "tcp_mstamp",
            "snd_una",
            "srtt_us",
            "packets_out",
            "bytes_received",
            "data_segs_in",
            "delivered_mstamp",
            "bytes_acked",
            "dsack_dups",
            "rack",
            "bytes_retrans",
            "total_retrans",
            "total_rto",
            "rcv_ooopack",
        ],
    ),
];

/// Enumerators, wherever the kernel declares them.
const VALUES: &[&str] = &[
    "false",
    "true",
    "BPF_MAP_TYPE_HASH",
    "BPF_MAP_TYPE_ARRAY",
    "BPF_MAP_TYPE_PERCPU_ARRAY",
    "BPF_MAP_TYPE_LRU_HASH",
    "BPF_MAP_TYPE_SK_STORAGE",
    "BPF_MAP_TYPE_RINGBUF",
    "BPF_ANY",
    "BPF_NOEXIST",
    "BPF_F_NO_PREALLOC",
    "BPF_F_CLONE",
    "BPF_SK_STORAGE_GET_F_CREATE",
    "BPF_RB_NO_WAKEUP",
    "BPF_RB_FORCE_WAKEUP",
    "BPF_RB_AVAIL_DATA",
    "BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB",
    "BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB",
    "BPF_SOCK_OPS_RTT_CB",
    "BPF_SOCK_OPS_RTT_CB_FLAG",
    "SOCK_DONE",
    "TCP_ESTABLISHED",
    "TCP_SYN_SENT",
    "TCP_SYN_RECV",
    "TCP_FIN_WAIT1",
    "TCP_FIN_WAIT2",
    "TCP_TIME_WAIT",
    "TCP_CLOSE",
    "TCP_CLOSE_WAIT",
    "TCP_LAST_ACK",
    "TCP_LISTEN",
    "TCP_CLOSING",
    "TCP_NEW_SYN_RECV",
    "SKB_DROP_REASON_NOT_SPECIFIED",
    "IPPROTO_TCP",
    "IPPROTO_UDP",
];

unsafe extern "C" {
    fn vsnprintf(out: *mut c_char, size: usize, format: *const c_char, args: *mut sys::__va_list_tag) -> c_int;
}

/// libbpf hands over printf arguments; they are appended to the `String` that `out` points to.
unsafe extern "C" fn append(out: *mut c_void, format: *const c_char, args: *mut sys::__va_list_tag) {
    // No declaration is longer than this; a longer one would be cut and not compile, which is noticed.
    let mut line = [0 as c_char; 4096];
    // SAFETY: the buffer is as long as said, format and args come from libbpf's own printf call, and `out` is the String given
    // to `btf_dump__new` below, alive and not borrowed elsewhere during the call.
    unsafe {
        vsnprintf(line.as_mut_ptr(), line.len(), format, args);
        let text = CStr::from_ptr(line.as_ptr()).to_string_lossy();
        (*out.cast::<String>()).push_str(&text);
    }
}

struct Kernel {
    btf: *mut sys::btf,
    dump: *mut sys::btf_dump,
    // libbpf keeps its address, so it must not move with `Kernel`.
    #[expect(clippy::box_collection)]
    text: Box<String>,
}

impl Kernel {
    fn open() -> Kernel {
        let mut text = Box::<String>::default();
        // SAFETY: both constructors return null on failure, checked; `text` is boxed and outlives `dump`.
        unsafe {
            let btf = sys::btf__load_vmlinux_btf();
            assert!(!btf.is_null(), "this kernel has no BTF at /sys/kernel/btf/vmlinux");
            let dump = sys::btf_dump__new(btf, Some(append), (&raw mut *text).cast(), ptr::null());
            assert!(!dump.is_null(), "libbpf cannot dump the kernel's BTF");
            Kernel { btf, dump, text }
        }
    }

    fn type_at(&self, id: u32) -> &sys::btf_type {
        // SAFETY: ids come from the BTF itself; the type lives as long as the BTF, which is never freed here.
        unsafe { &*sys::btf__type_by_id(self.btf, id) }
    }

    fn name(&self, offset: u32) -> &str {
        // SAFETY: offsets come from the BTF's own records; its strings are ASCII and end with a zero.
        unsafe { CStr::from_ptr(sys::btf__name_by_offset(self.btf, offset)).to_str().unwrap_or("") }
    }

    fn find(&self, name: &str) -> Option<u32> {
        let wanted = CString::new(name).expect("names have no zero byte");
        [sys::BTF_KIND_STRUCT, sys::BTF_KIND_TYPEDEF]
            .into_iter()
            // SAFETY: plain look-up by name; negative when absent.
            .map(|kind| unsafe { sys::btf__find_by_name_kind(self.btf, wanted.as_ptr(), kind) })
            .find(|id| *id > 0)
            .map(|id| id as u32)
    }

    fn whole(&mut self, name: &str) {
        let Some(id) = self.find(name) else {
            return self.absent(name);
        };
        // SAFETY: the id was found in this BTF.
        let error = unsafe { sys::btf_dump__dump_type(self.dump, id) };
        assert_eq!(error, 0, "cannot dump {name}");
    }

    fn cut(&mut self, name: &str, fields: &[&str]) {
        let Some(id) = self.find(name) else {
            return self.absent(name);
        };
        let _ = writeln!(self.text, "struct {name} {{");
        for field in fields {
            match self.member(id, field) {
                Some(of) => self.field(field, of),
                None => self.absent(&format!("{name}.{field}")),
            }
        }
        self.text.push_str("};\n\n");
    }

    /// The type of a member, also of one inside unnamed structs and unions: CO-RE matches through those by name.
    fn member(&self, id: u32, wanted: &str) -> Option<u32> {
        let composite = self.type_at(id);
        let kind = (composite.info >> 24) & 0x1f;
        if kind != sys::BTF_KIND_STRUCT && kind != sys::BTF_KIND_UNION {
            return None;
        }
        let count = (composite.info & 0xffff) as usize;
        // SAFETY: a struct or union record is followed by its members in the BTF blob.
        let members = unsafe { std::slice::from_raw_parts(ptr::from_ref(composite).add(1).cast::<sys::btf_member>(), count) };
        members.iter().find_map(|member| match self.name(member.name_off) {
            "" => self.member(member.type_, wanted),
            name => (name == wanted).then_some(member.type_),
        })
    }

    fn field(&mut self, name: &str, of: u32) {
        let name = CString::new(name).expect("names have no zero byte");
        let options = sys::btf_dump_emit_type_decl_opts {
            sz: size_of::<sys::btf_dump_emit_type_decl_opts>() as sys::size_t,
            field_name: name.as_ptr(),
            ..Default::default()
        };
        self.text.push('\t');
        // SAFETY: the id belongs to this BTF; the options and the name outlive the call.
        let error = unsafe { sys::btf_dump__emit_type_decl(self.dump, of, &raw const options) };
        assert_eq!(error, 0, "cannot print the declaration of {name:?}");
        self.text.push_str(";\n");
    }

    fn values(&mut self, wanted: &[&str]) {
        // SAFETY: counts the types of a loaded BTF.
        let types = unsafe { sys::btf__type_cnt(self.btf) };
        let mut found = vec![None; wanted.len()];
        for id in 1..types {
            let of = self.type_at(id);
            if (of.info >> 24) & 0x1f != sys::BTF_KIND_ENUM {
                continue;
            }
            let count = (of.info & 0xffff) as usize;
            // SAFETY: an enum record is followed by its values in the BTF blob.
            let values = unsafe { std::slice::from_raw_parts(ptr::from_ref(of).add(1).cast::<sys::btf_enum>(), count) };
            for value in values {
                if let Some(at) = wanted.iter().position(|name| *name == self.name(value.name_off)) {
                    found[at].get_or_insert(value.val);
                }
            }
        }
        self.text.push_str("enum {\n");
        for (name, value) in wanted.iter().zip(found) {
            match value {
                Some(value) => drop(writeln!(self.text, "\t{name} = {value},")),
                None => self.absent(name),
            }
        }
        self.text.push_str("};\n\n");
    }

    fn absent(&mut self, what: &str) {
        let _ = writeln!(self.text, "/* {what}: not in this kernel */");
    }
}

fn main() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release: Vec<&str> = release.split(['.', '-']).take(2).collect();
    let mut kernel = Kernel::open();
    let _ = write!(
        kernel.text,
        "/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */\n\
         /* Generated by `make vmlinux` (crates/probe/examples/vmlinux.rs) from Linux {}. Do not edit. */\n\
         #ifndef __VMLINUX_H__\n#define __VMLINUX_H__\n\n\
         #pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)\n\n",
        release.join(".")
    );
    WHOLE.iter().for_each(|name| kernel.whole(name));
    CUT.iter().for_each(|(name, fields)| kernel.cut(name, fields));
    kernel.values(VALUES);
    kernel.text.push_str("#pragma clang attribute pop\n\n#endif\n");
    let path = std::env::args().nth(1).expect("usage: vmlinux FILE");
    std::fs::write(&path, kernel.text.as_bytes()).unwrap_or_else(|error| panic!("{path}: {error}"));
}
