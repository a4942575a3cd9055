//! How many partitions of each topic each member gets.
//!
//! Evenly is: the sum of the squares of these numbers is as small as it can be. Exchanges around a circle of members (each gives the next one a
//! partition) lower it until there is no such circle; since the squares are convex, there is no better one then (a minimum-cost flow).

/// `sizes`: partitions of each topic; `held[member][topic]`: where they are; `shares`: how many each member gets in total, all of them
/// together. Whoever has more than its share only gives away; everybody else only gets.
pub(super) fn spread(sizes: &[usize], held: &[Vec<usize>], shares: &[usize]) -> Vec<Vec<usize>> {
    let gives = held.iter().zip(shares).map(|(held, share)| held.iter().sum::<usize>() > *share).collect();
    let mut table = Table { held, gives, counts: held.to_vec() };
    table.fill(sizes, shares);
    while table.exchange() {}
    table.counts
}

struct Table<'a> {
    held: &'a [Vec<usize>],
    gives: Vec<bool>,
    counts: Vec<Vec<usize>>,
}

/// A partition of `topic` goes from a member to another; `cost`: what that adds to the sum of squares.
#[derive(Clone, Copy)]
struct Step {
    topic: usize,
    cost: i64,
}

impl Table<'_> {
    /// Any numbers that add up, good ones already.
    fn fill(&mut self, sizes: &[usize], shares: &[usize]) {
        let mut free: Vec<usize> = sizes.iter().enumerate().map(|(topic, size)| size - self.total(topic)).collect();
        for member in (0..shares.len()).filter(|member| self.gives[*member]) {
            for _ in shares[member]..self.counts[member].iter().sum() {
                let most = (0..sizes.len()).max_by_key(|topic| self.counts[member][*topic]).expect("it has something to give");
                self.counts[member][most] -= 1;
                free[most] += 1;
            }
        }
        let mut room: Vec<usize> = shares.iter().zip(&self.counts).map(|(share, counts)| share - counts.iter().sum::<usize>()).collect();
        for (topic, free) in free.into_iter().enumerate() {
            for _ in 0..free {
                let members = (0..shares.len()).filter(|member| room[*member] > 0);
                let least = members.min_by_key(|member| (self.counts[*member][topic], std::cmp::Reverse(room[*member])));
                let least = least.expect("the shares are as many as the partitions");
                self.counts[least][topic] += 1;
                room[least] -= 1;
            }
        }
    }

    fn total(&self, topic: usize) -> usize {
        self.counts.iter().map(|counts| counts[topic]).sum()
    }

    fn can_give(&self, member: usize, topic: usize) -> bool {
        self.counts[member][topic] > if self.gives[member] { 0 } else { self.held[member][topic] }
    }

    fn can_get(&self, member: usize, topic: usize) -> bool {
        !self.gives[member] || self.counts[member][topic] < self.held[member][topic]
    }

    fn best_step(&self, from: usize, to: usize) -> Option<Step> {
        let topics = 0..self.held[from].len();
        let steps = topics.filter(|topic| from != to && self.can_give(from, *topic) && self.can_get(to, *topic)).map(|topic| {
            let (giver, getter) = (self.counts[from][topic] as i64, self.counts[to][topic] as i64);
            Step { topic, cost: 2 * (getter - giver + 1) }
        });
        steps.min_by_key(|step| step.cost)
    }

    /// Exchanges around one circle that is worth it. `false`: there is none.
    fn exchange(&mut self) -> bool {
        let members = 0..self.counts.len();
        let steps: Vec<Vec<Option<Step>>> =
            members.clone().map(|from| members.clone().map(|to| self.best_step(from, to)).collect()).collect();
        let Some(circle) = negative_circle(&steps) else { return false };
        for (from, to) in circle {
            let step = steps[from][to].expect("the circle is made of steps");
            self.counts[from][step.topic] -= 1;
            self.counts[to][step.topic] += 1;
        }
        true
    }
}

/// Bellman and Ford's: what can be lowered in a further round than there are members lies behind a circle whose costs are negative.
fn negative_circle(steps: &[Vec<Option<Step>>]) -> Option<Vec<(usize, usize)>> {
    let count = steps.len();
    let mut costs = vec![0; count];
    let mut before = vec![None; count];
    let mut lowered = None;
    for _ in 0..count {
        lowered = None;
        for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (from, to))) {
            let Some(step) = steps[from][to] else { continue };
            if costs[from] + step.cost < costs[to] {
                costs[to] = costs[from] + step.cost;
                before[to] = Some(from);
                lowered = Some(to);
            }
        }
        lowered?;
    }
    let back = |member: usize| before[member].expect("whoever was lowered has one before");
    // So many steps back end in the circle.
    let start = (0..count).fold(lowered?, |member, _| back(member));
    let mut circle = vec![(back(start), start)];
    while circle.last().is_some_and(|(from, _)| *from != start) {
        let (at, _) = circle[circle.len() - 1];
        circle.push((back(at), at));
    }
    Some(circle)
}
