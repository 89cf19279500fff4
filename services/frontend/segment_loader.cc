#include "services/frontend/segment_loader.h"

#include <algorithm>
#include <functional>
#include <future>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"

namespace sluice::frontend {
namespace {

// One less than the cache of objects downloads at once, so that small segments do not wait for
// large ones.
constexpr size_t kThreads = 3;
// Loads at once, beyond which none is begun that nobody waits for.
constexpr size_t kMaxUnwaited = 1'024;
using Pause = std::chrono::steady_clock::duration;
constexpr Pause kFirstPause = std::chrono::seconds(1);
// A store that was away may be back at any time; what is damaged mostly stays so, and costs a whole
// download to find out.
constexpr Pause kLongestPauseOfStore = std::chrono::seconds(10);
constexpr Pause kLongestPause = std::chrono::seconds(60);

absl::StatusOr<std::shared_ptr<const Segment>> FetchAndOpen(const ObjectStore& objects,
                                                            const std::string& object,
                                                            const v1::SegmentInfo& info,
                                                            const Patience& patience) {
  SLUICE_ASSIGN_OR_RETURN(ObjectFile file, objects.Fetch(object, patience));
  SLUICE_ASSIGN_OR_RETURN(std::shared_ptr<const Segment> segment, Segment::Open(*file, info));
  return Holding(std::move(file), std::move(segment));
}

}  // namespace

Pause PauseAfterFailure(Pause before, const absl::Status& error) {
  return std::clamp(2 * before, kFirstPause,
                    absl::IsUnavailable(error) ? kLongestPauseOfStore : kLongestPause);
}

struct SegmentLoader::Wait {
  Awaited awaited;
  // Null once it was called.
  Done done;
  // That are being loaded.
  std::vector<std::string> objects;
  Timer::Id timer;
  std::optional<std::stop_callback<std::function<void()>>> on_given_up;
};

SegmentLoader::SegmentLoader(const ObjectStore& objects, Metrics& metrics,
                             uint64_t remote_from_bytes, std::chrono::milliseconds open_patience)
    : objects_(objects),
      metrics_(metrics),
      remote_from_bytes_(remote_from_bytes),
      open_patience_(open_patience),
      threads_(kThreads) {}

SegmentLoader::~SegmentLoader() { Stop(); }

Patience SegmentLoader::OpenPatience() const {
  return {.deadline = std::chrono::steady_clock::now() + open_patience_,
          .given_up = stop_.get_token()};
}

absl::StatusOr<std::shared_ptr<const Segment>> SegmentLoader::Open(const CollectionId& collection,
                                                                   Incarnation incarnation,
                                                                   const v1::SegmentInfo& info) {
  const std::string object = SegmentObjectName(collection, incarnation, info);
  if (info.bytes() < remote_from_bytes_ || objects_.FetchLocal(object) != nullptr) {
    return OpenLocal(object, info, OpenPatience());
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
  SLUICE_RETURN_IF_ERROR(AwaitObject(object, info));
  return OpenLocal(object, info, OpenPatience());
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

void SegmentLoader::AwaitLocal(const View& view, Awaited awaited, const Patience& patience,
                               Done done) {
  LoadAll(view, NewWait(awaited, patience, std::move(done)));
}

absl::Status SegmentLoader::AwaitObject(const std::string& object, const v1::SegmentInfo& info) {
  // Also of the thread that says so, which may still be at it when this returns.
  const auto loaded = std::make_shared<std::promise<absl::Status>>();
  const std::shared_ptr<Wait> wait =
      NewWait(Awaited::kAll, OpenPatience(),
              [loaded](absl::Status result) { loaded->set_value(std::move(result)); });
  bool is_begun = false;
  absl::Status failed;
  Done ended;
  {
    const MutexLock lock(mutex_);
    if (const Failure* const failure = FindFailure(object)) {
      failed = failure->error;
      ended = End(wait);
    } else if (wait->done) {
      is_begun = Want(object, info, nullptr, wait);
    }
  }
  if (is_begun) threads_.Post([this] { LoadNext(); });
  if (ended) ended(failed);
  absl::Status result = loaded->get_future().get();
  if (!absl::IsDeadlineExceeded(result)) return result;
  return absl::UnavailableError(absl::StrCat(object, " did not arrive in time"));
}

std::shared_ptr<SegmentLoader::Wait> SegmentLoader::NewWait(Awaited awaited,
                                                            const Patience& patience, Done done) {
  auto wait = std::make_shared<Wait>();
  wait->awaited = awaited;
  wait->done = std::move(done);
  // First, as they may come at any time from now on.
  wait->on_given_up.emplace(patience.given_up, [this, weak = std::weak_ptr(wait)] {
    GiveUp(weak, absl::CancelledError("the caller gave up"));
  });
  const MutexLock lock(mutex_);
  wait->timer = timer_.At(patience.deadline, [this, weak = std::weak_ptr(wait)] {
    GiveUp(weak, absl::DeadlineExceededError("the segments did not arrive in time"));
  });
  return wait;
}

void SegmentLoader::LoadAll(const View& view, const std::shared_ptr<Wait>& wait) {
  size_t begun = 0;
  absl::Status failed;
  Done ended;
  {
    const MutexLock lock(mutex_);
    if (wait != nullptr && !wait->done) return;
    for (const std::shared_ptr<const Segment>& segment : view.segments()->segments()) {
      if (segment->is_local()) continue;
      const bool is_awaited =
          wait != nullptr && (wait->awaited == Awaited::kAll || segment->info().vectors() > 0);
      const std::string object =
          SegmentObjectName(view.collection(), view.incarnation(), segment->info());
      if (const Failure* const failure = FindFailure(object)) {
        if (is_awaited) failed = failure->error;
        continue;
      }
      if (Want(object, segment->info(), segment, is_awaited ? wait : nullptr)) ++begun;
    }
    if (wait != nullptr && (!failed.ok() || wait->objects.empty())) ended = End(wait);
  }
  for (; begun > 0; --begun) threads_.Post([this] { LoadNext(); });
  if (ended) ended(failed);
}

bool SegmentLoader::Want(const std::string& object, const v1::SegmentInfo& info,
                         const std::shared_ptr<const Segment>& segment,
                         const std::shared_ptr<Wait>& wait) {
  if (wait == nullptr && loading_.size() >= kMaxUnwaited && !loading_.contains(object)) {
    return false;
  }
  const auto [found, is_new] = loading_.try_emplace(object);
  Loading& loading = found->second;
  if (is_new) {
    loading.info = info;
    loading.number = ++last_number_;
    metrics_.loading_segments.Set(static_cast<double>(loading_.size()));
  }
  if (segment != nullptr) {
    std::erase_if(loading.segments, [&](const std::weak_ptr<const Segment>& other) {
      return other.expired() || other.lock() == segment;
    });
    loading.segments.push_back(segment);
  }
  if (wait != nullptr) {
    loading.waits.push_back(wait);
    wait->objects.push_back(object);
  }
  return is_new;
}

void SegmentLoader::LoadNext() {
  std::string object;
  v1::SegmentInfo info;
  {
    const MutexLock lock(mutex_);
    auto* const next = Next();
    metrics_.loading_segments.Set(static_cast<double>(loading_.size()));
    if (next == nullptr) return;
    next->second.is_begun = true;
    object = next->first;
    info = next->second.info;
  }
  Conclude(object, OpenLocal(object, info, {.given_up = stop_.get_token()}));
}

std::pair<const std::string, SegmentLoader::Loading>* SegmentLoader::Next() {
  absl::erase_if(loading_, [](const auto& entry) {
    const Loading& loading = entry.second;
    return !loading.is_begun && loading.waits.empty() &&
           std::all_of(loading.segments.begin(), loading.segments.end(),
                       [](const auto& segment) { return segment.expired(); });
  });
  const auto rank = [](const Loading& loading) {
    return std::pair(loading.waits.empty(), loading.number);
  };
  std::pair<const std::string, Loading>* next = nullptr;
  for (auto& entry : loading_) {
    if (entry.second.is_begun) continue;
    if (next == nullptr || rank(entry.second) < rank(next->second)) next = &entry;
  }
  return next;
}

void SegmentLoader::Conclude(const std::string& object,
                             const absl::StatusOr<std::shared_ptr<const Segment>>& local) {
  // Freed once the lock is let go.
  Loading loading;
  std::vector<std::shared_ptr<const Segment>> segments;
  std::vector<Done> ended;
  {
    const MutexLock lock(mutex_);
    const auto found = loading_.find(object);
    loading = std::move(found->second);
    loading_.erase(found);
    metrics_.loading_segments.Set(static_cast<double>(loading_.size()));
    if (local.ok()) {
      failures_.erase(object);
      for (const std::weak_ptr<const Segment>& segment : loading.segments) {
        segments.push_back(segment.lock());
        if (segments.back() != nullptr) segments.back()->UseLocal(*local);
      }
    } else {
      Remember(object, local.status());
    }
    for (const std::shared_ptr<Wait>& wait : loading.waits) {
      std::erase(wait->objects, object);
      if (!local.ok() || wait->objects.empty()) ended.push_back(End(wait));
    }
  }
  for (Done& done : ended) done(local.status());
}

void SegmentLoader::Remember(const std::string& object, const absl::Status& error) {
  // What is gone costs little to find out again, and the next view is without it.
  if (ReasonOf(error) == Reason::SEGMENT_MISSING || stop_.stop_requested()) return;
  const auto now = std::chrono::steady_clock::now();
  absl::erase_if(failures_,
                 [&](const auto& entry) { return now >= entry.second.retry_at + kLongestPause; });
  Failure& failure = failures_[object];
  failure.error = error;
  failure.pause = PauseAfterFailure(failure.pause, error);
  failure.retry_at = now + failure.pause;
  metrics_.loads_failed.Increment();
  load_failed_(server::Level::kWarn, "a segment was not loaded",
               {{"object", object}, {"error", error}});
}

const SegmentLoader::Failure* SegmentLoader::FindFailure(const std::string& object) const {
  const auto found = failures_.find(object);
  if (found == failures_.end() || std::chrono::steady_clock::now() >= found->second.retry_at) {
    return nullptr;
  }
  return &found->second;
}

void SegmentLoader::GiveUp(const std::weak_ptr<Wait>& waiting, const absl::Status& why) {
  const std::shared_ptr<Wait> wait = waiting.lock();
  if (wait == nullptr) return;
  Done ended;
  {
    const MutexLock lock(mutex_);
    ended = End(wait);
  }
  if (ended) ended(why);
}

SegmentLoader::Done SegmentLoader::End(const std::shared_ptr<Wait>& wait) {
  for (const std::string& object : wait->objects) {
    const auto found = loading_.find(object);
    if (found != loading_.end()) std::erase(found->second.waits, wait);
  }
  wait->objects.clear();
  timer_.Cancel(wait->timer);
  return std::exchange(wait->done, nullptr);
}

}  // namespace sluice::frontend
