use super::*;

fn at(port: u16) -> Endpoint {
    Endpoint { host: "n".into(), port }
}

fn situation(position: Option<usize>, answers: &[Answer]) -> Situation {
    let answers = answers
        .iter()
        .enumerate()
        .map(|(index, answer)| (at(index as u16), answer.clone()))
        .collect();
    Situation {
        member_of: None,
        position,
        founders: 3,
        found_alone: false,
        answers,
    }
}

fn member(id: &str) -> Answer {
    Answer::Member { cluster_id: id.into() }
}

#[test]
fn the_rule_of_founding() {
    use Answer::{Empty, Silent};
    let refused = || Answer::NoPromise("it is configured with another list of founders".into());
    let join = |id: &str, ports: &[u16]| Decision::Join {
        cluster_id: id.into(),
        via: ports.iter().copied().map(at).collect(),
    };
    let wait = |lines: &[&str]| Decision::Wait(lines.iter().map(|line| (*line).to_owned()).collect());
    let for_first = || wait(&["the first of the founders has not founded the cluster"]);
    let cases = [
        ("first, all empty", situation(Some(0), &[Empty, Empty]), Decision::Found),
        (
            "first, one silent",
            situation(Some(0), &[Empty, Silent]),
            wait(&["n:1 has not answered"]),
        ),
        (
            "first, all silent",
            situation(Some(0), &[Silent, Silent]),
            wait(&["n:0 has not answered", "n:1 has not answered"]),
        ),
        (
            "first, another list",
            situation(Some(0), &[refused(), Empty]),
            wait(&["n:0: it is configured with another list of founders"]),
        ),
        (
            "first, wiped",
            situation(Some(0), &[Empty, member("a")]),
            join("a", &[1]),
        ),
        (
            "first, wiped, silent third",
            situation(Some(0), &[Silent, member("a")]),
            join("a", &[1]),
        ),
        ("second, all empty", situation(Some(1), &[Empty, Empty]), for_first()),
        ("second, silent", situation(Some(1), &[Silent, Silent]), for_first()),
        (
            "second, founded",
            situation(Some(1), &[member("a"), Silent]),
            join("a", &[0]),
        ),
        (
            "third, founded by both",
            situation(Some(2), &[member("a"), member("a")]),
            join("a", &[0, 1]),
        ),
        (
            "no founder, empty",
            situation(None, &[Empty, Empty, Empty]),
            for_first(),
        ),
        (
            "no founder, founded",
            situation(None, &[Silent, member("a"), Empty]),
            join("a", &[1]),
        ),
        (
            "two clusters",
            situation(Some(2), &[member("a"), member("b")]),
            Decision::Refuse("the nodes listed belong to different clusters: a, b".into()),
        ),
        (
            "asked only one of two",
            Situation {
                answers: vec![(at(0), Empty)],
                ..situation(Some(0), &[])
            },
            wait(&[]),
        ),
        (
            "member",
            Situation {
                member_of: Some("a".into()),
                ..situation(Some(0), &[Silent, member("b")])
            },
            Decision::Start,
        ),
        (
            "alone",
            Situation {
                founders: 0,
                found_alone: true,
                ..situation(None, &[])
            },
            Decision::Found,
        ),
        (
            "the only founder",
            Situation {
                founders: 1,
                ..situation(Some(0), &[])
            },
            Decision::Found,
        ),
    ];
    for (name, situation, expected) in cases {
        assert_eq!(decide(&situation), expected, "{name}");
    }
    let forgotten = Situation {
        founders: 0,
        ..situation(None, &[])
    };
    assert!(matches!(decide(&forgotten), Decision::Refuse(why) if why.contains("found=true")));
}

#[test]
fn a_promise_belongs_to_one_candidate() {
    let list = [at(1), at(2)];
    let mut promise = Promise::default();
    assert!(promise.give(NodeId(9), "x", &[at(2), at(1)], &list).is_err());
    assert_eq!(promise.give(NodeId(1), "x", &list, &list), Ok(()));
    assert_eq!(promise.give(NodeId(1), "y", &list, &list), Ok(()));
    assert_eq!(
        promise.give(NodeId(2), "y", &list, &list),
        Err("it has promised to be founded by node 1".into())
    );
}

// --- every interleaving of small clusters -----------------------------------------------------

/// One node of the model. `disk` is the identity's cluster; everything else is lost in a crash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Node {
    up: bool,
    disk: Option<u8>,
    candidate: u8,
    answers: Vec<Option<Said>>,
    promised: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Said {
    Empty { candidate: u8 },
    Member(u8),
    NoPromise,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Model {
    nodes: Vec<Node>,
    /// Order of founders in each node's configuration.
    lists: Vec<Vec<u8>>,
    /// Clusters that were ever founded.
    founded: Vec<u8>,
    /// Crashes and wipes that may still happen.
    crashes: u8,
    wipes: u8,
    next_id: u8,
}

impl Model {
    fn new(lists: Vec<Vec<u8>>, crashes: u8, wipes: u8, disks: [Option<u8>; 3]) -> Self {
        let nodes = disks
            .into_iter()
            .map(|disk| Node {
                up: false,
                disk,
                candidate: 0,
                answers: vec![None; 3],
                promised: None,
            })
            .collect();
        Self {
            nodes,
            lists,
            founded: disks.iter().flatten().take(1).copied().collect(),
            crashes,
            wipes,
            next_id: 10,
        }
    }

    fn successors(&self) -> Vec<Self> {
        let mut next = Vec::new();
        for i in 0..3 {
            let node = &self.nodes[i];
            if !node.up {
                let mut model = self.clone();
                let candidate = model.next_id;
                model.next_id += 1;
                model.nodes[i] = Node {
                    up: true,
                    disk: node.disk,
                    candidate,
                    answers: vec![None; 3],
                    promised: None,
                };
                next.push(model);
                continue;
            }
            if self.crashes > 0 {
                let mut model = self.clone();
                model.crashes -= 1;
                model.nodes[i].up = false;
                next.push(model);
            }
            if self.wipes > 0 {
                let mut model = self.clone();
                model.wipes -= 1;
                model.nodes[i].up = false;
                model.nodes[i].disk = None;
                next.push(model);
            }
            if node.disk.is_some() {
                continue;
            }
            for j in (0..3).filter(|j| *j != i) {
                next.push(self.probe(i, j));
            }
            next.extend(self.act(i));
        }
        next
    }

    /// Node i asks node j and remembers what it said, or that it was silent.
    fn probe(&self, i: usize, j: usize) -> Self {
        let mut model = self.clone();
        let said = if !self.nodes[j].up {
            None
        } else if let Some(cluster) = self.nodes[j].disk {
            Some(Said::Member(cluster))
        } else {
            let mut promise = Promise {
                given: self.nodes[j].promised.map(|n| (NodeId(i32::from(n)), String::new())),
                count: 0,
            };
            let list = |of: usize| self.lists[of].iter().map(|n| at(u16::from(*n))).collect::<Vec<_>>();
            if self.lists[j][0] == j as u8 {
                // A candidate holds its own promise from its start on.
                let _ = promise.give(NodeId(j as i32), "", &list(j), &list(j));
            }
            let asks = self.lists[i][0] == i as u8;
            match asks.then(|| promise.give(NodeId(i as i32), "", &list(i), &list(j))) {
                Some(Ok(())) => {
                    model.nodes[j].promised = Some(i as u8);
                    Some(Said::Empty {
                        candidate: self.nodes[i].candidate,
                    })
                }
                _ => Some(Said::NoPromise),
            }
        };
        model.nodes[i].answers[j] = said;
        model
    }

    fn act(&self, i: usize) -> Option<Self> {
        let node = &self.nodes[i];
        let position = self.lists[i].iter().position(|n| usize::from(*n) == i);
        let answers = (0..3)
            .filter(|j| *j != i)
            .map(|j| {
                let answer = match &node.answers[j] {
                    None => Answer::Silent,
                    Some(Said::Member(cluster)) => member(&cluster.to_string()),
                    Some(Said::Empty { candidate }) if *candidate == node.candidate => Answer::Empty,
                    Some(_) => Answer::NoPromise(String::new()),
                };
                (at(j as u16), answer)
            })
            .collect();
        let situation = Situation {
            member_of: None,
            position,
            founders: 3,
            found_alone: false,
            answers,
        };
        let mut model = self.clone();
        match decide(&situation) {
            Decision::Found => {
                model.nodes[i].disk = Some(node.candidate);
                model.founded.push(node.candidate);
            }
            Decision::Join { cluster_id, via } => {
                // The shell asks the cluster for a Raft id, and drops what it got if it made a promise
                // meanwhile: to the model that is one step with a living member.
                let cluster: Option<u8> = cluster_id.parse().ok();
                let alive = via.iter().any(|endpoint| {
                    let node = &self.nodes[usize::from(endpoint.port)];
                    node.up && node.disk == cluster
                });
                if !alive {
                    return None;
                }
                model.nodes[i].disk = cluster;
            }
            _ => return None,
        }
        Some(model)
    }

    fn clusters(&self) -> usize {
        let mut ids: Vec<u8> = self.nodes.iter().filter_map(|node| node.disk).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    }
}

/// Visits every reachable state (candidate ids renamed in order of appearance so that restarts do not make
/// the space endless), and returns how many there were and whether one had all three in one cluster.
fn explore(start: Model) -> (usize, bool) {
    let mut seen = std::collections::BTreeSet::new();
    let mut todo = vec![start];
    let mut together = false;
    while let Some(model) = todo.pop() {
        if !seen.insert(model.clone()) {
            continue;
        }
        assert!(model.clusters() <= 1, "two clusters: {model:?}");
        together |= model.nodes.iter().all(|node| node.disk.is_some());
        todo.extend(model.successors());
    }
    (seen.len(), together)
}

#[test]
fn three_founders_in_any_order_with_one_dying_in_the_middle_found_one_cluster() {
    let (states, together) = explore(Model::new(vec![vec![0, 1, 2]; 3], 1, 0, [None; 3]));
    assert!(together && states > 500, "{states}");
}

#[test]
fn lists_in_different_orders_never_make_two_clusters() {
    let (states, together) = explore(Model::new(
        vec![vec![0, 1, 2], vec![1, 0, 2], vec![0, 1, 2]],
        1,
        0,
        [None; 3],
    ));
    assert!(states > 100, "{states}");
    assert!(!together, "a founder with another list gives no promise");
}

#[test]
fn two_wiped_of_three_never_found_a_second_cluster() {
    for kept in 0..3 {
        let mut disks = [None; 3];
        disks[kept] = Some(1);
        let (states, together) = explore(Model::new(vec![vec![0, 1, 2]; 3], 1, 0, disks));
        assert!(together && states > 50, "{states}");
    }
}

#[test]
fn any_node_wiped_while_the_cluster_is_founded() {
    // A founder that is wiped before anyone joined may found again: its first cluster had no other member and
    // no topic. What must never be is two nodes in different clusters.
    let (states, together) = explore(Model::new(vec![vec![0, 1, 2]; 3], 0, 1, [None; 3]));
    assert!(together && states > 500, "{states}");
}
