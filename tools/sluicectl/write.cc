#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/errors/errors.h"
#include "tools/sluicectl/commands.h"
#include "tools/sluicectl/json_record.h"
#include "tools/sluicectl/line_reader.h"
#include "tools/sluicectl/pipeline.h"
#include "tools/sluicectl/progress.h"
#include "tools/sluicectl/text.h"

namespace sluice::ctl {
namespace {

using std::chrono::steady_clock;

// Ends a batch, as its number of records does: well below what one append may have.
constexpr size_t kBatchBytes = 4 << 20;

// A file, or standard input; closed at the end of its scope.
class Input {
 public:
  explicit Input(const std::string& file)
      : name_(file == "-" ? "standard input" : file),
        fd_(file == "-" ? STDIN_FILENO : open(file.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~Input() {
    if (fd_ > STDIN_FILENO) close(fd_);
  }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  int fd() const { return fd_; }
  const std::string& name() const { return name_; }
  // Of a file; 0 of a pipe.
  uint64_t size() const {
    std::error_code error;
    const uint64_t size = std::filesystem::file_size(name_, error);
    return error ? 0 : size;
  }

 private:
  const std::string name_;
  const int fd_;
};

// Cuts records into batches and hands them to the pipeline. False: a batch has failed.
class Batcher {
 public:
  Batcher(Pipeline& pipeline, const v1::Collection& collection, v1::Operation operation,
          size_t most_records)
      : pipeline_(pipeline),
        collection_id_(collection.id()),
        operation_(operation),
        most_records_(most_records) {}

  bool Add(v1::OperationRecord record, uint64_t line) {
    record.set_operation(operation_);
    bytes_ += record.ByteSizeLong();
    *batch_.request.add_records() = std::move(record);
    batch_.lines.push_back(line);
    return (batch_.lines.size() < most_records_ && bytes_ < kBatchBytes) || Flush();
  }
  bool Flush() {
    if (batch_.lines.empty()) return true;
    batch_.request.mutable_collection()->set_id(collection_id_);
    bytes_ = 0;
    return pipeline_.Push(std::exchange(batch_, Batch()));
  }

 private:
  Pipeline& pipeline_;
  const std::string collection_id_;
  const v1::Operation operation_;
  const size_t most_records_;
  Batch batch_;
  size_t bytes_ = 0;
};

// Why the input was not read to its end.
struct BadLine {
  absl::Status error;
  uint64_t line;
};

// Sends what the lines say, up to their end, a bad line or a failed batch.
std::optional<BadLine> Feed(LineReader& lines, Batcher& batcher) {
  RecordParser parser;
  for (;;) {
    // Records do not lie about while whoever writes into the pipe thinks.
    if (!lines.ready() && !batcher.Flush()) return std::nullopt;
    const auto line = lines.Next();
    absl::Status error = line.status();
    if (error.ok() && !line->has_value()) {
      batcher.Flush();
      return std::nullopt;
    }
    v1::OperationRecord record;
    if (error.ok()) error = parser.Parse(**line, &record);
    if (!error.ok()) {
      batcher.Flush();
      return BadLine{WithOutcome(std::move(error), Outcome::kNotIn), lines.line_number()};
    }
    if (!batcher.Add(std::move(record), lines.line_number())) return std::nullopt;
  }
}

Pipeline::Send SenderOf(client::Frontend& frontend, v1::Operation operation) {
  switch (operation) {
    case v1::OPERATION_ADD:
      return
          [&](v1::WriteRequest r, auto done) { frontend.AddAsync(std::move(r), std::move(done)); };
    case v1::OPERATION_UPDATE:
      return [&](v1::WriteRequest r, auto done) {
        frontend.UpdateAsync(std::move(r), std::move(done));
      };
    case v1::OPERATION_UPSERT:
      return [&](v1::WriteRequest r, auto done) {
        frontend.UpsertAsync(std::move(r), std::move(done));
      };
    default:
      return [&](v1::WriteRequest r, auto done) {
        v1::DeleteRequest request;
        request.mutable_collection()->Swap(r.mutable_collection());
        for (v1::OperationRecord& record : *r.mutable_records()) {
          request.add_ids(std::move(*record.mutable_id()));
        }
        frontend.DeleteAsync(std::move(request), std::move(done));
      };
  }
}

void PrintSummary(const Session& session, const Totals& totals, uint64_t bytes, double seconds,
                  std::optional<uint64_t> in_before_line) {
  const double rate = seconds > 0 ? static_cast<double>(totals.records) / seconds : 0;
  Json json{{"records", totals.records},         {"requests", totals.requests},
            {"duplicates", totals.duplicates},   {"first_seq_id", totals.first_seq_id},
            {"last_seq_id", totals.last_seq_id}, {"seconds", seconds},
            {"records_per_second", rate},        {"bytes", bytes}};
  if (in_before_line) json["in_before_line"] = *in_before_line;
  session.Print(json, [&] {
    std::string text =
        absl::StrFormat("%s records acknowledged in %.2f s (%s/s)", Grouped(totals.records),
                        seconds, Grouped(static_cast<uint64_t>(rate)));
    if (totals.records > 0) {
      absl::StrAppend(&text, ", SeqIds ", Grouped(totals.first_seq_id), "..",
                      Grouped(totals.last_seq_id));
    }
    if (in_before_line.value_or(1) > 1) {
      absl::StrAppend(&text, "; everything before line ", Grouped(*in_before_line), " is in");
    }
    return text + "\n";
  });
}

// What is shown while a file is sent.
ProgressState StateOf(const Pipeline& pipeline, const LineReader& lines, uint64_t size) {
  const Totals totals = pipeline.Now();
  ProgressState state{.records = totals.records, .last_seq_id = totals.last_seq_id};
  if (size > 0) {
    state.done = std::min(1.0, static_cast<double>(lines.bytes_read()) / static_cast<double>(size));
  }
  return state;
}

// A look at the lag that does not hold anything up.
std::function<std::optional<uint64_t>()> LagOf(const Session& session,
                                               const v1::Collection& collection) {
  const auto log = std::make_shared<client::Log>(session.LogWith(OptionsFor(0.5)));
  const absl::StatusOr<CollectionId> id = ParseCollectionId(collection.id());
  return [log, id]() -> std::optional<uint64_t> {
    if (!id.ok()) return std::nullopt;
    const auto state = log->Describe(*id);
    if (!state.ok()) return std::nullopt;
    return state->tail_seq_id() - state->applied_seq_id();
  };
}

}  // namespace

absl::Status Write(Session& session, v1::Operation operation, const WriteArguments& arguments) {
  const Input input(arguments.ids.empty() ? arguments.file : "/dev/null");
  if (input.fd() < 0) {
    return WithOutcome(
        absl::InvalidArgumentError(absl::StrCat(input.name(), ": ", std::strerror(errno))),
        Outcome::kNotIn);
  }
  SLUICE_ASSIGN_OR_RETURN(const v1::Collection collection, session.Find(arguments.collection));

  const auto begin = steady_clock::now();
  Pipeline pipeline(SenderOf(session.frontend, operation), arguments.under_way);
  Batcher batcher(pipeline, collection, operation, arguments.batch);
  LineReader lines(input.fd(), kLinePadding);
  std::optional<BadLine> bad;
  std::optional<Failure> failure;
  {
    const uint64_t size = input.size();
    const Progress progress([&] { return StateOf(pipeline, lines, size); },
                            LagOf(session, collection));
    uint64_t number = 0;
    for (const std::string& id : arguments.ids) {
      v1::OperationRecord record;
      record.set_id(id);
      if (!batcher.Add(std::move(record), ++number)) break;
    }
    bad = Feed(lines, batcher);
    failure = pipeline.Finish();
  }
  const std::chrono::duration<double> elapsed = steady_clock::now() - begin;

  std::optional<uint64_t> in_before;
  if (failure) {
    in_before = failure->first_line;
  } else if (bad) {
    in_before = bad->line;
  }
  PrintSummary(session, pipeline.Now(), lines.bytes_read(), elapsed.count(), in_before);
  if (failure) return Annotate(failure->error, absl::StrCat(input.name(), ":", failure->line));
  if (bad) return Annotate(bad->error, absl::StrCat(input.name(), ":", bad->line));
  return absl::OkStatus();
}

}  // namespace sluice::ctl
