// Search over the segments of a SegmentSet: cut into pieces, which the caller works off, and with
// it threads that have nothing else to do.
#include <algorithm>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>

#include "common/base/check.h"
#include "common/base/mutex.h"
#include "common/segment/segment_set.h"

namespace sluice {
namespace {

bool IsNearer(const SegmentSet::Neighbour& a, const SegmentSet::Neighbour& b) {
  return std::tie(a.distance, a.id) < std::tie(b.distance, b.id);
}

// The nearest of what one thread has looked at: a heap, the farthest on top.
class Nearest {
 public:
  explicit Nearest(size_t k) : k_(k) {}

  bool Wants(const SegmentSet::Neighbour& candidate) const {
    return heap_.size() < k_ || IsNearer(candidate, heap_.front());
  }
  // Wants(candidate).
  void Add(const SegmentSet::Neighbour& candidate) {
    if (heap_.size() == k_) {
      std::ranges::pop_heap(heap_, IsNearer);
      heap_.pop_back();
    }
    heap_.push_back(candidate);
    std::ranges::push_heap(heap_, IsNearer);
  }
  std::span<const SegmentSet::Neighbour> InNoOrder() const { return heap_; }
  std::vector<SegmentSet::Neighbour> Take() {
    std::ranges::sort_heap(heap_, IsNearer);
    return std::move(heap_);
  }

 private:
  const size_t k_;
  std::vector<SegmentSet::Neighbour> heap_;
};

}  // namespace

// One search. Helpers may come when it is over: they find no piece, and touch nothing else.
class SegmentSet::SearchJob : public std::enable_shared_from_this<SearchJob> {
 public:
  SearchJob(const SegmentSet& set, v1::Metric metric, std::span<const float> query, size_t k,
            absl::FunctionRef<bool(Place)> skip, const SearchSharing& sharing)
      : set_(set),
        metric_(metric),
        dimension_(query.size()),
        distance_to_(metric, query),
        k_(k),
        skip_(skip),
        sharing_(sharing) {}

  std::vector<Neighbour> Run() EXCLUDES(mutex_) {
    {
      const MutexLock lock(mutex_);
      AddAll();
    }
    AskForHelp();
    Nearest nearest(k_);
    while (const std::optional<Piece> piece = AwaitPiece()) Do(*piece, nearest);
    const MutexLock lock(mutex_);
    for (const Neighbour& found : found_) {
      if (nearest.Wants(found)) nearest.Add(found);
    }
    return nearest.Take();
  }

 private:
  static constexpr float kAnywhere = std::numeric_limits<float>::infinity();
  // From this ratio of sizes on, a graph waits for what the largest one finds.
  static constexpr uint64_t kSmallRatio = 4;

  // Some entries of a segment, or all its vectors by their graph.
  struct Piece {
    uint32_t segment = 0;
    bool by_graph = false;
    // Farther vectors are of no use.
    float radius = kAnywhere;
    size_t begin = 0;
    size_t end = 0;
  };

  // As many as are worth it. There is always the caller, so nobody waits for them.
  void AskForHelp() EXCLUDES(mutex_) {
    if (sharing_.helpers == nullptr) return;
    uint64_t useful = 0;
    {
      const MutexLock lock(mutex_);
      useful = std::min<uint64_t>(todo_.size(), bytes_ / sharing_.piece_bytes);
    }
    for (uint64_t i = 1; i < useful; ++i) {
      if (!sharing_.helpers->Offer([job = shared_from_this()] { job->Help(); })) return;
    }
  }

  void Help() EXCLUDES(mutex_) {
    std::optional<Piece> piece;
    {
      const MutexLock lock(mutex_);
      piece = Pop();
      if (!piece) return;
      ++helping_;
    }
    Nearest nearest(k_);
    for (; piece; piece = PieceForHelper()) Do(*piece, nearest);
    const MutexLock lock(mutex_);
    found_.insert(found_.end(), nearest.InNoOrder().begin(), nearest.InNoOrder().end());
    --helping_;
    changed_.notify_all();
  }

  std::optional<Piece> PieceForHelper() EXCLUDES(mutex_) {
    if (sharing_.helpers->HasWaiting()) return std::nullopt;
    const MutexLock lock(mutex_);
    return Pop();
  }

  // nullopt: all is done. Those who help may add to it.
  std::optional<Piece> AwaitPiece() EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    while (todo_.empty() && helping_ > 0) changed_.wait(mutex_);
    return Pop();
  }

  std::optional<Piece> Pop() REQUIRES(mutex_) {
    if (todo_.empty()) return std::nullopt;
    const Piece piece = todo_.back();
    todo_.pop_back();
    return piece;
  }

  void AddAll() REQUIRES(mutex_) {
    std::vector<uint32_t> graphs;
    // The last piece is taken first: the oldest segments are the largest.
    for (auto i = static_cast<uint32_t>(set_.segments_.size()); i-- > 0;) {
      const Segment& segment = *set_.segments_[i];
      if (segment.info().vectors() == 0 || segment.dimension() != dimension_) continue;
      const Graph* const graph = segment.graph();
      if (graph != nullptr && graph->metric() == metric_) {
        graphs.push_back(i);
      } else {
        AddRanges(i);
      }
    }
    const auto vectors = [&](uint32_t i) { return set_.segments_[i]->info().vectors(); };
    const auto largest = std::ranges::max_element(graphs, {}, vectors);
    if (largest == graphs.end()) return;
    leader_ = *largest;
    for (const uint32_t i : graphs) {
      if (i == leader_) continue;
      if (vectors(i) * kSmallRatio <= vectors(leader_)) {
        small_.push_back(i);
      } else {
        AddGraph(i, kAnywhere);
      }
    }
    AddGraph(leader_, kAnywhere);
  }

  void AddGraph(uint32_t i, float radius) REQUIRES(mutex_) {
    const Segment& segment = *set_.segments_[i];
    todo_.push_back({.segment = i, .by_graph = true, .radius = radius});
    bytes_ += std::min<uint64_t>(segment.vectors().size_bytes(),
                                 Breadth(*segment.graph()) * segment.graph()->links() *
                                     Graph::kLinkCost * dimension_ * sizeof(float));
  }

  void AddRanges(uint32_t i) REQUIRES(mutex_) {
    const Segment& segment = *set_.segments_[i];
    const size_t entries = segment.entries().size();
    const size_t step = std::max<uint64_t>(1, sharing_.piece_bytes / (dimension_ * sizeof(float)));
    for (size_t end = entries; end > 0;) {
      const size_t begin = (end - 1) / step * step;
      todo_.push_back({.segment = i, .begin = begin, .end = end});
      end = begin;
    }
    bytes_ += segment.vectors().size_bytes();
  }

  void Do(const Piece& piece, Nearest& nearest) EXCLUDES(mutex_) {
    if (!piece.by_graph) return LookAt(piece, nearest);
    const std::optional<float> radius = SearchGraph(piece, nearest);
    const bool leads = piece.segment == leader_;
    if (radius && !(leads && !small_.empty())) return;
    {
      const MutexLock lock(mutex_);
      if (!radius) AddRanges(piece.segment);
      if (leads) {
        for (const uint32_t i : small_) AddGraph(i, radius.value_or(kAnywhere));
      }
    }
    changed_.notify_all();
    AskForHelp();
  }

  void LookAt(const Piece& piece, Nearest& nearest) const {
    const Segment& segment = *set_.segments_[piece.segment];
    const LiveRows& live = *set_.live_[piece.segment];
    for (const Segment::Entry& entry :
         segment.entries().subspan(piece.begin, piece.end - piece.begin)) {
      if (entry.row == Segment::kDeleted || !live.Has(entry.row)) continue;
      const std::span<const float> vector = segment.Vector(entry.row);
      if (vector.empty()) continue;
      const Neighbour candidate{.distance = distance_to_(vector.data()),
                                .id = entry.id,
                                .place = {.segment = piece.segment, .row = entry.row}};
      if (nearest.Wants(candidate) && !skip_(candidate.place)) nearest.Add(candidate);
    }
  }

  // Twice as many as it was measured for are still found.
  size_t Breadth(const Graph& graph) const {
    return graph.breadth() + k_ - std::min(k_, 2 * Graph::kMeasuredNeighbours);
  }

  // The distance of the k-th nearest that it found. nullopt: nothing was added, since it found too
  // few, or looking at all costs less.
  std::optional<float> SearchGraph(const Piece& piece, Nearest& nearest) const {
    const uint32_t i = piece.segment;
    const Segment& segment = *set_.segments_[i];
    const Graph& graph = *segment.graph();
    const LiveRows& live = *set_.live_[i];
    const Graph::Limits limits{.breadth = Breadth(graph),
                               .radius = piece.radius,
                               .max_distances = live.count / Graph::kLinkCost};
    auto hits = graph.Search(distance_to_, segment.vectors().data(), segment.dimension(), limits,
                             [&](uint32_t vector) {
                               const uint32_t row = segment.RowOfVector(vector);
                               return live.Has(row) && !skip_({.segment = i, .row = row});
                             });
    const size_t wanted = std::min(k_, Graph::LeastHits(limits));
    // Too few also where the graph leaves some unreachable.
    if (!hits || hits->size() < wanted) return std::nullopt;
    for (const Graph::Hit& hit : *hits) {
      const Segment::Entry& entry = segment.EntryOfVector(hit.vector);
      const Neighbour candidate{
          .distance = hit.distance, .id = entry.id, .place = {.segment = i, .row = entry.row}};
      if (nearest.Wants(candidate)) nearest.Add(candidate);
    }
    const auto last = hits->begin() + (wanted - 1);
    std::ranges::nth_element(*hits, last, {}, &Graph::Hit::distance);
    return last->distance;
  }

  const SegmentSet& set_;
  const v1::Metric metric_;
  const size_t dimension_;
  const DistanceTo distance_to_;
  const size_t k_;
  const absl::FunctionRef<bool(Place)> skip_;
  const SearchSharing sharing_;

  // Both set before any piece is taken. Of the graphs the largest, and those that are searched once
  // it was, within the radius of what it found.
  uint32_t leader_ = UINT32_MAX;
  std::vector<uint32_t> small_;

  Mutex mutex_;
  CondVar changed_;
  std::vector<Piece> todo_ GUARDED_BY(mutex_);
  // An estimate of what is read of vectors, by all pieces there ever were.
  uint64_t bytes_ GUARDED_BY(mutex_) = 0;
  int helping_ GUARDED_BY(mutex_) = 0;
  // What helpers that are done found.
  std::vector<Neighbour> found_ GUARDED_BY(mutex_);
};

std::vector<SegmentSet::Neighbour> SegmentSet::Search(v1::Metric metric,
                                                      std::span<const float> query, size_t k,
                                                      absl::FunctionRef<bool(Place)> skip,
                                                      const SearchSharing& sharing) const {
  SLUICE_CHECK(sharing.piece_bytes > 0);
  if (k == 0 || query.empty()) return {};
  return std::make_shared<SearchJob>(*this, metric, query, k, skip, sharing)->Run();
}

}  // namespace sluice
