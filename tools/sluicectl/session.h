// What every command has: the servers, the collection that a name stands for, and a place to print.
// Used by one thread.
#pragma once

#include <cstdint>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/client/client.h"
#include "tools/sluicectl/json_out.h"

namespace sluice::ctl {

struct Flags {
  std::string server = "127.0.0.1:7700";
  // Where LogService is, if not at `server`.
  std::string log;
  std::string tenant;
  std::string database;
  bool json = false;
  // Of one call with its retries; nullopt: as the command finds right.
  std::optional<double> timeout_s;
};

class Session {
 public:
  explicit Session(const Flags& flags);

  // A UUID is an id, all else a name in the tenant and database of the flags.
  v1::CollectionRef Ref(const std::string& collection) const;
  // Asks the catalog.
  absl::StatusOr<v1::Collection> Find(const std::string& collection);
  absl::StatusOr<v1::DescribeLogResponse> Describe(const v1::Collection& collection);
  // A log client of its own patience.
  client::Log LogWith(const client::Options& options) const;
  const client::Options& options() const { return options_; }
  // To the log, for calls that the client library does not have.
  const std::shared_ptr<grpc::Channel>& log_channel() const { return log_channel_; }

  // Of a call that the client library does not have.
  void SetDeadline(grpc::ClientContext& context) const;

  // Prints `json`, or what `people` returns.
  template <class Text>
  void Print(const Json& json, Text people) const {
    std::cout << (flags.json ? Dump(json) + "\n" : people()) << std::flush;
  }

  const Flags flags;

 private:
  const client::Options options_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::shared_ptr<grpc::Channel> log_channel_;

 public:
  client::Frontend frontend;
  client::Catalog catalog;
  client::Log log;
  client::Admin admin;
  client::Compaction compaction;
};

// Of a log_only collection none: nothing is ever applied.
uint64_t UnappliedRecords(const v1::Collection& collection, const v1::DescribeLogResponse& log);

// `patience` for a call with its retries.
client::Options OptionsFor(double patience_s);

// 0 ok, 1 failed and not in, 2 bad usage or input, 3 may be in, 4 not found, 5 unavailable,
// overloaded or out of time, 6 damage was found. For a `write`, an error that states no outcome
// means that it may be in.
int ExitStatus(const absl::Status& status, bool write);
// Not OK if something printed did not get to standard output (a full disk).
absl::Status FlushOutput();
// One line: code, reason, message, and for a write the outcome.
std::string ErrorLine(const absl::Status& error, bool write);

}  // namespace sluice::ctl
