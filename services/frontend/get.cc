// Get and Count, and which reads take rows of remote segments.
#include <deque>
#include <optional>
#include <utility>

#include "common/base/mutex.h"
#include "common/base/share.h"
#include "common/record/limits.h"
#include "services/frontend/page_token.h"
#include "services/frontend/reads.h"
#include "services/frontend/reply.h"

namespace sluice::frontend {
namespace {

absl::Status CheckPatience(const Patience& patience) {
  if (!patience.is_over()) return absl::OkStatus();
  if (patience.given_up.stop_requested()) return absl::CancelledError("the caller gave up");
  return absl::DeadlineExceededError("the rows could not be read in time");
}

bool IsRemote(const SegmentSet& segments, std::optional<SegmentSet::Place> place) {
  return place && !segments.segments()[place->segment]->is_local();
}

// The rows of ids, one after the other. Those of remote segments, which take a request each, are
// read before they are asked for, several at once.
class RowsOfIds {
 public:
  RowsOfIds(const View& view, const v1::GetRequest& request, const Patience& patience,
            Executor* readers)
      : view_(view),
        request_(request),
        patience_(patience),
        readers_(readers),
        looked_at_(view.segments()->is_local() ? request.ids_size() : 0) {}

  // To be called once for each id. nullopt: there is none.
  absl::StatusOr<std::optional<Row>> Next() {
    if (next_ == looked_at_) SLUICE_RETURN_IF_ERROR(ReadRemoteOnes());
    const int id = next_++;
    if (remote_.empty() || remote_.front().id != id) return Read(id);
    std::optional<Row> row = std::move(remote_.front().row);
    remote_.pop_front();
    return row;
  }

 private:
  struct Remote {
    // Its place in the request.
    int id = 0;
    std::optional<Row> row;
  };

  absl::Status ReadRemoteOnes() {
    for (; looked_at_ < request_.ids_size() && remote_.size() < kMaxRemoteRows; ++looked_at_) {
      const SegmentSet& segments = *view_.segments();
      if (IsRemote(segments, segments.Find(view_.HashOf(request_.ids(looked_at_))))) {
        remote_.push_back({.id = looked_at_, .row = std::nullopt});
      }
    }
    Mutex mutex;
    absl::Status failed;
    const auto has_failed = [&] {
      const MutexLock lock(mutex);
      return !failed.ok();
    };
    Share(remote_.size(), readers_, [&](size_t i) {
      if (has_failed()) return;
      absl::StatusOr<std::optional<Row>> row = Read(remote_[i].id);
      if (row.ok()) {
        remote_[i].row = *std::move(row);
        return;
      }
      const MutexLock lock(mutex);
      failed.Update(row.status());
    });
    return failed;
  }

  absl::StatusOr<std::optional<Row>> Read(int id) const {
    SLUICE_RETURN_IF_ERROR(CheckPatience(patience_));
    const IdHash hash = view_.HashOf(request_.ids(id));
    return view_.RowOf(view_.segments()->Find(hash), view_.tail().Find(hash),
                       NeedsVectors(request_));
  }

  const View& view_;
  const v1::GetRequest& request_;
  const Patience& patience_;
  Executor* const readers_;
  int next_ = 0;
  // So many ids are known to be local, or among those in remote_.
  int looked_at_;
  std::deque<Remote> remote_;
};

absl::StatusOr<v1::GetResponse> GetByIds(const View& view, const v1::GetRequest& request,
                                         const Patience& patience, Executor* row_readers) {
  v1::GetResponse response;
  SetAsOf(view, &response);
  ReplySize size;
  RowsOfIds rows(view, request, patience, row_readers);
  for (int i = 0; i < request.ids_size(); ++i) {
    SLUICE_ASSIGN_OR_RETURN(std::optional<Row> row, rows.Next());
    if (!row) continue;
    v1::Row* const out = response.add_rows();
    FillRow(*row, request.include(), out);
    SLUICE_RETURN_IF_ERROR(size.Add(out->ByteSizeLong()));
  }
  return response;
}

// Rows in order of id hash, until a page is full.
class Page {
 public:
  Page(const View& view, const v1::GetRequest& request, std::optional<IdHash> after,
       const Patience& patience)
      : view_(view),
        patience_(patience),
        include_(request.include()),
        max_rows_(request.page_size() == 0 ? kDefaultPageSize : request.page_size()),
        rows_(*view.segments(), max_rows_, kMaxPageBytes),
        after_(after) {}

  absl::StatusOr<v1::GetResponse> Collect() {
    SetAsOf(view_, &response_);
    Tail::Cursor tail(view_.tail(), after_);
    view_.segments()->VisitLive(after_, [&](const IdHash& id, SegmentSet::Place place) {
      for (; !tail.done() && tail.id() < id; tail.Next()) {
        if (!Add(tail.id(), std::nullopt, tail.records())) return false;
      }
      if (tail.done() || tail.id() != id) return Add(id, place, {});
      const bool more = Add(id, place, tail.records());
      tail.Next();
      return more;
    });
    for (; !full_ && !tail.done(); tail.Next()) {
      if (!Add(tail.id(), std::nullopt, tail.records())) break;
    }
    if (!error_.ok()) return error_;
    if (full_) {
      response_.set_next_page_token(EncodePageToken({.collection = view_.collection(),
                                                     .incarnation = view_.incarnation(),
                                                     .after = *after_}));
    }
    return std::move(response_);
  }

 private:
  // False: the page ended before this id.
  bool Add(const IdHash& id, std::optional<SegmentSet::Place> place,
           std::span<const RecordAt> records) {
    const bool has_all = response_.rows_size() == static_cast<int>(max_rows_);
    if (has_all && records.empty()) {
      full_ = true;
      return false;
    }
    absl::StatusOr<std::optional<Row>> row = Read(place, records);
    if (!row.ok()) {
      error_ = std::move(row).status();
      full_ = true;
      return false;
    }
    if (!*row) return true;
    v1::Row out;
    FillRow(**row, include_, &out);
    const uint64_t bytes = out.ByteSizeLong();
    if (has_all || (response_.rows_size() > 0 && bytes_ + bytes > kMaxPageBytes)) {
      full_ = true;
      return false;
    }
    bytes_ += bytes;
    *response_.add_rows() = std::move(out);
    after_ = id;
    return true;
  }

  absl::StatusOr<std::optional<Row>> Read(std::optional<SegmentSet::Place> place,
                                          std::span<const RecordAt> records) {
    SLUICE_RETURN_IF_ERROR(CheckPatience(patience_));
    return view_.RowOf(place, records, include_.vector(), &rows_);
  }

  const View& view_;
  const Patience& patience_;
  const v1::Include& include_;
  const uint32_t max_rows_;
  SegmentSet::Cursor rows_;
  // The last id in the page.
  std::optional<IdHash> after_;
  v1::GetResponse response_;
  uint64_t bytes_ = 0;
  bool full_ = false;
  absl::Status error_;
};

}  // namespace

absl::Status Check(const v1::GetRequest& request) {
  if (static_cast<uint64_t>(request.ids_size()) > kMaxIdsPerGet) {
    return MakeError(
        Reason::TOO_LARGE,
        absl::StrCat("ids: ", request.ids_size(), "; at most ", kMaxIdsPerGet, " are allowed"),
        {{"limit", "get.ids"},
         {"max", absl::StrCat(kMaxIdsPerGet)},
         {"actual", absl::StrCat(request.ids_size())}});
  }
  for (int i = 0; i < request.ids_size(); ++i) {
    const size_t bytes = request.ids(i).size();
    if (bytes == 0 || bytes > kMaxIdBytes) {
      return Invalid(absl::StrCat("ids[", i, "]"),
                     absl::StrCat(bytes, " bytes; 1 to ", kMaxIdBytes, " are allowed"));
    }
  }
  if (request.ids_size() > 0 && !request.page_token().empty()) {
    return Invalid("page_token", "not used with ids");
  }
  if (request.page_size() > kMaxPageSize) {
    return Invalid("page_size", absl::StrCat("more than ", kMaxPageSize));
  }
  return CheckLevel(request.level());
}

bool NeedsVectors(const v1::GetRequest& request) { return request.include().vector(); }

bool TakesManyRemoteRows(const View& view, const v1::GetRequest& request) {
  const SegmentSet& segments = *view.segments();
  int rows = 0;
  for (const std::string& id : request.ids()) {
    if (IsRemote(segments, segments.Find(view.HashOf(id)))) ++rows;
    if (rows > kMaxRemoteRows) return true;
  }
  return false;
}

bool TakesManyRemoteRows(const View& view, const v1::QueryRequest&) {
  const SegmentSet& segments = *view.segments();
  if (segments.is_local()) return false;
  int rows = 0;
  for (const auto& [segment, row] : view.effect().hidden) {
    const Segment& of = *segments.segments()[segment];
    if (!of.is_local() && of.info().vectors() == 0) ++rows;
    if (rows > kMaxRemoteRows) return true;
  }
  return false;
}

absl::StatusOr<v1::GetResponse> Answer(const View& view, const v1::GetRequest& request,
                                       const Patience& patience, Executor* row_readers) {
  if (request.ids_size() > 0) return GetByIds(view, request, patience, row_readers);
  std::optional<IdHash> after;
  if (!request.page_token().empty()) {
    SLUICE_ASSIGN_OR_RETURN(
        after, DecodePageToken(request.page_token(), view.collection(), view.incarnation()));
  }
  return Page(view, request, after, patience).Collect();
}

absl::Status Check(const v1::CountRequest& request) { return CheckLevel(request.level()); }

bool NeedsVectors(const v1::CountRequest&) { return false; }

absl::StatusOr<v1::CountResponse> Answer(const View& view, const v1::CountRequest&) {
  v1::CountResponse response;
  response.set_count(view.segments()->live_count() + view.effect().live_delta);
  SetAsOf(view, &response);
  return response;
}

}  // namespace sluice::frontend
