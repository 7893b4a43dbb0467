//! The packet filter of a machine, as `nft --json` lists it, and what in it drops a datagram.
//!
//! Each rule is asked whether the datagram matches: yes, no, or who knows. A drop that is sure comes before one that is
//! possible. Rules of iptables-nft are in the list, too; those of the old iptables are not.
//!
//! Not here: whether something was dropped at all, which is seen otherwise (see `examine`).
//!
//! Source: libnftables-json(5).

use std::net::IpAddr;

use serde_json::Value;

/// What drops it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// Family, table and chain.
    pub chain: String,
    /// The rule, or `policy drop`.
    pub rule: String,
    /// It drops it for sure.
    pub is_sure: bool,
}

/// A UDP datagram between this machine and another.
#[derive(Clone, Copy, Debug)]
pub struct Datagram {
    /// It comes in.
    pub is_incoming: bool,
    /// Our port.
    pub port: u16,
    /// The other machine, as far as it is known.
    pub remote: Option<std::net::SocketAddr>,
}

/// A list of tables, chains and rules.
#[derive(Clone, Debug, Default)]
pub struct Ruleset(Vec<Value>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    Yes,
    No,
    Unknown,
}

enum Verdict {
    Accept,
    Drop(Culprit),
    Next,
}

impl Ruleset {
    /// Reads what `nft --json list ruleset` prints; `None` if that cannot be read.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut list: Value = serde_json::from_slice(text).ok()?;
        match list.get_mut("nftables")?.take() {
            Value::Array(items) => Some(Self(items)),
            _ => None,
        }
    }

    /// Finds what drops `datagram`.
    pub fn culprit(&self, datagram: Datagram) -> Option<Culprit> {
        let hooks: &[&str] =
            if datagram.is_incoming { &["ingress", "prerouting", "input"] } else { &["output", "postrouting"] };
        let mut possible = None;
        for hook in hooks {
            for chain in self.0.iter().filter_map(|item| item.get("chain")).filter(|chain| chain["hook"] == *hook) {
                match self.walk(chain, datagram, MAX_DEPTH) {
                    Verdict::Drop(culprit) if culprit.is_sure => return Some(culprit),
                    Verdict::Drop(culprit) => possible = possible.or(Some(culprit)),
                    Verdict::Accept => {}
                    Verdict::Next if chain["policy"] == "drop" => {
                        return Some(Culprit { chain: name_of(chain), rule: "policy drop".to_owned(), is_sure: true });
                    }
                    Verdict::Next => {}
                }
            }
        }
        possible
    }

    fn walk(&self, chain: &Value, datagram: Datagram, depth: usize) -> Verdict {
        let place = |item: &Value| [item["family"].clone(), item["table"].clone()];
        let rules = self.0.iter().filter_map(|item| item.get("rule"));
        let mut possible = None;
        for rule in rules.filter(|rule| place(rule) == place(chain) && rule["chain"] == chain["name"]) {
            let Some(statements) = rule["expr"].as_array() else { continue };
            let matches = statements.iter().filter_map(|statement| statement.get("match"));
            let found = matches.map(|of| matching(of, datagram)).fold(Match::Yes, |all, one| match (all, one) {
                (Match::No, _) | (_, Match::No) => Match::No,
                (Match::Unknown, _) | (_, Match::Unknown) => Match::Unknown,
                _ => Match::Yes,
            });
            if found == Match::No {
                continue;
            }
            let is = |word: &str| statements.iter().any(|statement| statement.get(word).is_some());
            let target = |word: &str| statements.iter().find_map(|statement| statement[word]["target"].as_str());
            if is("drop") || is("reject") {
                let culprit =
                    Culprit { chain: name_of(chain), rule: text_of(statements), is_sure: found == Match::Yes };
                if culprit.is_sure {
                    return Verdict::Drop(culprit);
                }
                possible = possible.or(Some(culprit));
            } else if is("accept") && found == Match::Yes {
                return possible.map_or(Verdict::Accept, Verdict::Drop);
            } else if let Some(target) = target("jump").or(target("goto"))
                && depth > 0
            {
                let chains = self.0.iter().filter_map(|item| item.get("chain"));
                let there = chains.filter(|there| there["name"] == target).find(|there| place(there) == place(chain));
                match there.map(|there| self.walk(there, datagram, depth - 1)) {
                    Some(Verdict::Drop(culprit)) if culprit.is_sure && found == Match::Yes => {
                        return Verdict::Drop(culprit);
                    }
                    Some(Verdict::Drop(culprit)) => possible = possible.or(Some(Culprit { is_sure: false, ..culprit })),
                    Some(Verdict::Accept) if found == Match::Yes => return Verdict::Accept,
                    _ => {}
                }
            }
        }
        possible.map_or(Verdict::Next, Verdict::Drop)
    }
}

/// `inet filter input`
fn name_of(chain: &Value) -> String {
    ["family", "table", "name"].map(|key| chain[key].as_str().unwrap_or("?")).join(" ")
}

/// What the rule says, as far as it is of the common kind.
fn text_of(statements: &[Value]) -> String {
    let words = statements.iter().filter_map(|statement| {
        let (word, value) = statement.as_object()?.iter().next()?;
        match word.as_str() {
            "match" => Some(format!("{} {}", left_text(&value["left"]), right_text(&value["op"], &value["right"]))),
            "counter" | "comment" => None,
            word => Some(word.to_owned()),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn left_text(left: &Value) -> String {
    let payload = &left["payload"];
    match (payload["protocol"].as_str(), payload["field"].as_str(), left["meta"]["key"].as_str()) {
        (Some(protocol), Some(field), _) => format!("{protocol} {field}"),
        (_, _, Some(key)) => key.to_owned(),
        _ => left.as_object().and_then(|left| left.keys().next().cloned()).unwrap_or_default(),
    }
}

fn right_text(operator: &Value, right: &Value) -> String {
    let operator = operator.as_str().filter(|&operator| operator != "==" && operator != "in");
    let value = right.as_str().map_or_else(|| right.to_string(), str::to_owned);
    operator.map_or(value.clone(), |operator| format!("{operator} {value}"))
}

/// Tells whether one condition holds for `datagram`.
fn matching(condition: &Value, datagram: Datagram) -> Match {
    let right = &condition["right"];
    let payload = &condition["left"]["payload"];
    let meta = condition["left"]["meta"]["key"].as_str();
    let Datagram { is_incoming, port, remote } = datagram;
    let remote_port = remote.map(|remote| u64::from(remote.port()));
    let (src, dst) = if is_incoming { (remote_port, Some(port.into())) } else { (Some(port.into()), remote_port) };
    let address = remote.map(|remote| remote.ip());
    let found = match (payload["protocol"].as_str(), payload["field"].as_str(), meta) {
        (Some("udp" | "th"), Some("dport"), _) => number(dst, right),
        (Some("udp" | "th"), Some("sport"), _) => number(src, right),
        (Some("tcp" | "icmp" | "icmpv6" | "sctp" | "dccp"), _, _) => Match::No,
        (Some("ip" | "ip6"), Some("protocol" | "nexthdr"), _) | (_, _, Some("l4proto")) => word("udp", right),
        (Some("ip" | "ip6"), Some("saddr"), _) if is_incoming => network(address, right),
        (Some("ip" | "ip6"), Some("daddr"), _) if !is_incoming => network(address, right),
        (_, _, Some("iifname" | "iif" | "oifname" | "oif")) if *right == "lo" => Match::No,
        _ => Match::Unknown,
    };
    match (condition["op"].as_str(), found) {
        (Some("!="), Match::Yes) => Match::No,
        (Some("!="), Match::No) => Match::Yes,
        (Some("==" | "!=" | "in"), found) => found,
        _ => Match::Unknown,
    }
}

fn number(value: Option<u64>, right: &Value) -> Match {
    let Some(value) = value else { return Match::Unknown };
    any(right, &|one| match one.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        Some([first, last]) => first.as_u64().zip(last.as_u64()).map(|(first, last)| (first..=last).contains(&value)),
        _ => one.as_u64().map(|one| one == value),
    })
}

fn word(value: &str, right: &Value) -> Match {
    any(right, &|one| one.as_str().map(|one| one == value))
}

fn network(address: Option<IpAddr>, right: &Value) -> Match {
    let Some(address) = address else { return Match::Unknown };
    any(right, &|one| match one.get("prefix") {
        Some(prefix) => {
            let len = u8::try_from(prefix["len"].as_u64()?).ok()?;
            let network = rvpn_uapi::AllowedIp::new(prefix["addr"].as_str()?.parse().ok()?, len)?;
            Some(super::facts::contains(&network, address))
        }
        None => Some(one.as_str()?.parse::<IpAddr>().ok()? == address),
    })
}

/// Asks for a value, or for each of a set; what cannot be told of one of them is unknown, unless another is it.
fn any(right: &Value, is_it: &dyn Fn(&Value) -> Option<bool>) -> Match {
    let set = right.get("set").and_then(Value::as_array);
    let of = |one: &Value| match is_it(one) {
        Some(true) => Match::Yes,
        Some(false) => Match::No,
        None => Match::Unknown,
    };
    let Some(set) = set else { return of(right) };
    let found: Vec<_> = set.iter().map(of).collect();
    [Match::Yes, Match::Unknown].into_iter().find(|wanted| found.contains(wanted)).unwrap_or(Match::No)
}

/// Jumps within jumps: those of the kernel are bounded, too.
const MAX_DEPTH: usize = 8;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn incoming(rules: Value, policy: &str) -> Option<Culprit> {
        let mut list = vec![json!({"chain": {"family": "inet", "table": "filter", "name": "input", "hook": "input",
            "policy": policy}})];
        for expr in rules.as_array().expect("a list") {
            list.push(json!({"rule": {"family": "inet", "table": "filter", "chain": "input", "expr": expr}}));
        }
        let text = json!({ "nftables": list }).to_string();
        let remote = "192.0.2.1:51820".parse().ok();
        Ruleset::parse(text.as_bytes()).expect("JSON").culprit(Datagram { is_incoming: true, port: 2, remote })
    }

    fn port(right: Value) -> Value {
        json!({"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": right}})
    }

    #[test]
    fn a_rule_for_our_port_is_found_and_one_for_another_is_not() {
        let found = incoming(json!([[port(json!(3)), {"drop": null}], [port(json!(2)), {"drop": null}]]), "accept");
        let culprit = found.expect("the second rule");
        assert_eq!((culprit.chain.as_str(), culprit.rule.as_str()), ("inet filter input", "udp dport 2 drop"));
        assert!(culprit.is_sure);
        let set = json!({"set": [22, {"range": [1, 2]}]});
        assert!(incoming(json!([[port(set), {"reject": {"type": "icmpx"}}]]), "accept").is_some());
        assert_eq!(incoming(json!([[port(json!({"range": [3, 9]})), {"drop": null}]]), "accept"), None);
    }

    #[test]
    fn a_policy_drops_what_no_rule_accepts() {
        let culprit = incoming(json!([[port(json!(3)), {"accept": null}]]), "drop").expect("the policy");
        assert_eq!((culprit.rule.as_str(), culprit.is_sure), ("policy drop", true));
        assert_eq!(incoming(json!([[port(json!(2)), {"accept": null}]]), "drop"), None);
        let network = json!({"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}},
            "right": {"prefix": {"addr": "192.0.2.0", "len": 24}}}});
        assert_eq!(incoming(json!([[network, {"accept": null}]]), "drop"), None);
    }

    #[test]
    fn what_cannot_be_told_is_possible_at_most() {
        let odd = json!({"match": {"op": "==", "left": {"ct": {"key": "state"}}, "right": "invalid"}});
        let culprit = incoming(json!([[odd, {"drop": null}]]), "accept").expect("a possible one");
        assert!(!culprit.is_sure);
        assert_eq!(incoming(json!([]), "accept"), None);
        assert!(Ruleset::parse(b"nonsense").is_none());
    }
}
