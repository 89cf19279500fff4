#include "services/frontend/segment_loader.h"

#include <chrono>
#include <utility>

#include "common/errors/errors.h"

namespace sluice::frontend {
namespace {

// One less than the cache of objects downloads at once, so that small segments do not wait for
// large ones.
constexpr size_t kThreads = 3;
// Of opening a small segment: a thread that answers reads waits for it.
constexpr std::chrono::seconds kOpenPatience{10};

absl::StatusOr<std::shared_ptr<const Segment>> FetchAndOpen(const ObjectStore& objects,
                                                            const std::string& object,
                                                            const v1::SegmentInfo& info,
                                                            const Patience& patience) {
  SLUICE_ASSIGN_OR_RETURN(ObjectFile file, objects.Fetch(object, patience));
  SLUICE_ASSIGN_OR_RETURN(std::shared_ptr<const Segment> segment, Segment::Open(*file, info));
  return Holding(std::move(file), std::move(segment));
}

}  // namespace

struct SegmentLoader::Wait {
  // Null once it was called.
  Done done;
  // Segments that are being loaded.
  size_t left = 0;
  std::optional<std::stop_callback<std::function<void()>>> on_given_up;
};

SegmentLoader::SegmentLoader(const ObjectStore& objects, Metrics& metrics,
                             uint64_t remote_from_bytes)
    : objects_(objects),
      metrics_(metrics),
      remote_from_bytes_(remote_from_bytes),
      threads_(kThreads) {}

SegmentLoader::~SegmentLoader() { stop_.request_stop(); }

absl::StatusOr<std::shared_ptr<const Segment>> SegmentLoader::Open(
    const CollectionId& collection, Incarnation incarnation, const v1::SegmentInfo& info) const {
  const std::string object = SegmentObjectName(collection, incarnation, info);
  if (info.bytes() < remote_from_bytes_ || objects_.FetchLocal(object) != nullptr) {
    return OpenLocal(object, info,
                     {.deadline = std::chrono::steady_clock::now() + kOpenPatience,
                      .given_up = stop_.get_token()});
  }
  SLUICE_ASSIGN_OR_RETURN(std::shared_ptr<const ObjectReader> reader,
                          objects_.OpenReader(object, info.bytes()));
  const auto read = [reader = std::move(reader)](uint64_t offset, uint64_t bytes) {
    return reader->Read(offset, bytes);
  };
  absl::StatusOr<std::shared_ptr<const Segment>> segment = Segment::OpenRemote(read, info, object);
  if (segment.ok()) {
    metrics_.segments_remote.Increment();
    return segment;
  }
  if (absl::IsNotFound(segment.status())) return SegmentMissing(object);
  if (absl::IsUnavailable(segment.status())) return segment.status();
  // The pieces were damaged, or the object is: whole, it says which, and may arrive undamaged.
  return OpenLocal(object, info, {.given_up = stop_.get_token()});
}

absl::StatusOr<std::shared_ptr<const Segment>> SegmentLoader::OpenLocal(
    const std::string& object, const v1::SegmentInfo& info, const Patience& patience) const {
  absl::StatusOr<std::shared_ptr<const Segment>> segment =
      FetchAndOpen(objects_, object, info, patience);
  if (absl::IsNotFound(segment.status())) return SegmentMissing(object);
  if (segment.ok()) metrics_.segments_local.Increment();
  return segment;
}

void SegmentLoader::Load(const View& view) { LoadAll(view, nullptr); }

void SegmentLoader::AwaitLocal(const View& view, const std::stop_token& given_up, Done done) {
  const auto wait = std::make_shared<Wait>();
  wait->done = std::move(done);
  // First, as it may come at any time from now on.
  wait->on_given_up.emplace(given_up, [this, weak = std::weak_ptr(wait)] {
    Done cancelled;
    if (const std::shared_ptr<Wait> held = weak.lock()) {
      const MutexLock lock(mutex_);
      cancelled = std::exchange(held->done, nullptr);
    }
    if (cancelled) cancelled(absl::CancelledError("the caller gave up"));
  });
  LoadAll(view, wait);
}

void SegmentLoader::LoadAll(const View& view, const std::shared_ptr<Wait>& wait) {
  std::vector<const Segment*> begun;
  Done ready;
  {
    const MutexLock lock(mutex_);
    for (const std::shared_ptr<const Segment>& segment : view.segments()->segments()) {
      if (segment->is_local()) continue;
      const auto [loading, is_new] = loading_.try_emplace(segment.get());
      if (is_new) {
        loading->second.segment = segment;
        loading->second.object =
            SegmentObjectName(view.collection(), view.incarnation(), segment->info());
        begun.push_back(segment.get());
      }
      if (wait == nullptr) continue;
      loading->second.waits.push_back(wait);
      ++wait->left;
    }
    if (wait != nullptr && wait->left == 0) ready = std::exchange(wait->done, nullptr);
    metrics_.loading_segments.Set(static_cast<double>(loading_.size()));
  }
  for (const Segment* segment : begun) threads_.Post([this, segment] { LoadOne(segment); });
  if (ready) ready(absl::OkStatus());
}

void SegmentLoader::LoadOne(const Segment* key) {
  // Freed once the lock is let go.
  Loading loading;
  {
    const MutexLock lock(mutex_);
    const Loading& found = loading_.find(key)->second;
    if (found.waits.empty() && found.segment.use_count() == 1) {
      // Nobody holds the view any more.
      loading = Take(key);
      return;
    }
    loading.segment = found.segment;
    loading.object = found.object;
  }
  const absl::StatusOr<std::shared_ptr<const Segment>> local =
      OpenLocal(loading.object, loading.segment->info(), {.given_up = stop_.get_token()});
  if (local.ok()) loading.segment->UseLocal(*local);
  std::vector<Done> ended;
  {
    const MutexLock lock(mutex_);
    loading = Take(key);
    for (const std::shared_ptr<Wait>& wait : loading.waits) {
      --wait->left;
      if (wait->done && (!local.ok() || wait->left == 0)) {
        ended.push_back(std::exchange(wait->done, nullptr));
      }
    }
  }
  for (Done& done : ended) done(local.status());
}

SegmentLoader::Loading SegmentLoader::Take(const Segment* key) {
  const auto found = loading_.find(key);
  Loading loading = std::move(found->second);
  loading_.erase(found);
  metrics_.loading_segments.Set(static_cast<double>(loading_.size()));
  return loading;
}

}  // namespace sluice::frontend
