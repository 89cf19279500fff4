// sluicectl: Sluice from the command line. README.md describes the commands.
#include <CLI/CLI.hpp>
#include <functional>
#include <iostream>
#include <string>

#include "common/errors/errors.h"
#include "tools/sluicectl/commands.h"
#include "tools/sluicectl/session.h"

namespace sluice::ctl {
namespace {

constexpr char kFooter[] = R"(
Records are JSON lines: {"id": ..., "document": ..., "uri": ..., "metadata": {...}, "vector": [...]}

Exit status:
  0  done
  1  failed, and nothing of the failed call is in
  2  bad usage or input (of a bad line: every line before it is in, and nothing after it)
  3  failed, and the call may be in: look, or repeat it
  4  no such collection
  5  unavailable, overloaded or out of time, and nothing of the failed call is in)";

// What was chosen on the command line.
struct Choice {
  bool write = false;
  double timeout_s = 0;
  std::function<absl::Status(Session&)> run;
};

class CommandLine {
 public:
  CommandLine() : app_("Sluice from the command line.", "sluicectl") {
    app_.footer(kFooter);
    app_.require_subcommand(1);
    app_.fallthrough();
    app_.set_version_flag("--version", SLUICE_VERSION);
    app_.add_option("--server", flags_.server, "Address of the server")
        ->envname("SLUICE_SERVER")
        ->capture_default_str();
    app_.add_option("--log", flags_.log,
                    "Address of the log, if it is another (lag, tail, describe)")
        ->envname("SLUICE_LOG");
    app_.add_option("--tenant", flags_.tenant, "Tenant of collections given by name");
    app_.add_option("--database", flags_.database, "Database of collections given by name");
    app_.add_option("--timeout", flags_.timeout_s,
                    "Seconds for a call with its retries (60), or for wait (600)")
        ->check(CLI::PositiveNumber);
    app_.add_flag("--json", flags_.json, "Print JSON");
    AddCollections();
    AddWrites();
    AddReads();
    AddMissing();
    AddFollowing();
  }

  int Run(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      return app_.exit(error) == 0 ? 0 : 2;
    }
    if (!flags_.timeout_s) flags_.timeout_s = choice_.timeout_s;
    Session session(flags_);
    absl::Status status = choice_.run(session);
    // What was called is done; what it said is lost.
    if (status.ok()) status = WithOutcome(FlushOutput(), Outcome::kIn);
    if (!status.ok()) std::cerr << "sluicectl: " << ErrorLine(status, choice_.write) << std::endl;
    return ExitStatus(status, choice_.write);
  }

 private:
  using Action = std::function<absl::Status(Session&)>;

  CLI::App* Command(CLI::App& parent, const std::string& name, const std::string& help, bool write,
                    Action run, double timeout_s = 60) {
    CLI::App* command = parent.add_subcommand(name, help);
    command->fallthrough();
    command->callback([this, write, timeout_s, run = std::move(run)] {
      choice_ = {write, timeout_s, run};
    });
    return command;
  }

  void AddCollections() {
    CLI::App& group = *app_.add_subcommand("collections", "Create, list, describe, delete");
    group.require_subcommand(1);
    group.fallthrough();

    CLI::App* create = Command(group, "create", "Create a collection", true,
                               [this](Session& s) { return CreateCollection(s, create_); });
    create->add_option("name", create_.name, "Its name")->required();
    create->add_option("--dimension", create_.dimension,
                       "Of its vectors; 0: the first vector decides (with hashing: 384). Required "
                       "with another embedder");
    create->add_option("--metric", create_.metric)
        ->check(CLI::IsMember({"l2", "cosine", "ip"}))
        ->capture_default_str();
    create
        ->add_option("--embedder", create_.embedder,
                     "Makes vectors of documents: none, hashing (built in, lexical), or NAME of "
                     "embedders.NAME in the settings of compactors and frontends")
        ->capture_default_str();
    create->add_option("--model", create_.model, "What the embedder's servers call the model");
    create->add_option("--document-prefix", create_.document_prefix,
                       "Put before each document that is embedded");
    create->add_option("--query-prefix", create_.query_prefix, "Put before each text of a query");
    create->add_flag("--get-or-create", create_.get_or_create,
                     "Succeed if it exists with the same schema");
    create->add_option("--max-bytes", create_.max_bytes, "Compact at so many unapplied bytes");
    create->add_option("--max-age-ms", create_.max_age_ms, "Compact at this age");
    create->add_option("--max-backlog-bytes", create_.max_backlog_bytes,
                       "Refuse writes beyond so many unapplied bytes");

    CLI::App* list = Command(group, "list", "List collections", false,
                             [this](Session& s) { return ListCollections(s, list_all_); });
    list->add_flag("--all", list_all_, "Of all tenants and databases");

    CLI::App* describe =
        Command(group, "describe", "Show a collection, its log and its segments", false,
                [this](Session& s) { return DescribeCollection(s, collection_); });
    AddCollectionName(describe, &collection_);

    CLI::App* remove = Command(group, "delete", "Delete a collection", true,
                               [this](Session& s) { return DeleteCollection(s, collection_); });
    AddCollectionName(remove, &collection_);
  }

  void AddWrites() {
    const struct {
      const char* name;
      const char* help;
      v1::Operation operation;
    } writes[] = {
        {"add", "Insert records; ids that exist are left as they are", v1::OPERATION_ADD},
        {"update", "Change records; ids that do not exist are left out", v1::OPERATION_UPDATE},
        {"upsert", "Change or insert records", v1::OPERATION_UPSERT},
        {"delete", "Remove records: of each line, only the id is used", v1::OPERATION_DELETE},
    };
    for (const auto& w : writes) {
      CLI::App* command = Command(
          app_, w.name, w.help, true,
          [this, operation = w.operation](Session& s) { return Write(s, operation, write_); });
      AddCollectionName(command, &write_.collection);
      CLI::Option* file =
          command->add_option("file", write_.file, "JSON lines; - is standard input")
              ->capture_default_str();
      command->add_option("--batch", write_.batch, "Records a request")
          ->check(CLI::Range(1, 10'000))
          ->capture_default_str();
      command->add_option("--in-flight", write_.under_way, "Requests under way at once")
          ->check(CLI::Range(1, 64))
          ->capture_default_str();
      if (w.operation != v1::OPERATION_DELETE) continue;
      command->add_option("--id", write_.ids, "An id to remove (may be repeated)")->excludes(file);
    }
  }

  void AddReads() {
    CLI::App* get = Command(app_, "get", "Show rows by id", false,
                            [this](Session& s) { return ctl::Get(s, read_); });
    AddReadOptions(get);
    CLI::Option* ids = get->add_option("ids", read_.ids, "Ids");
    CLI::Option* all = get->add_flag("--all", read_.all, "Every row, as JSON lines");
    all->excludes(ids);

    CLI::App* query = Command(app_, "query", "Show the rows nearest to a text or a vector", false,
                              [this](Session& s) { return Query(s, read_); });
    AddReadOptions(query);
    CLI::Option_group* what = query->add_option_group("what");
    what->add_option("--text", read_.text, "Embedded by the collection's embedder");
    what->add_option("--vector", read_.vector, "As in \"[0.1, 0.2]\"");
    what->require_option(1);
    query->add_option("-k,--limit", read_.limit, "Rows")
        ->check(CLI::Range(1, 1'000))
        ->capture_default_str();

    AddReadOptions(
        Command(app_, "count", "Count rows", false, [this](Session& s) { return Count(s, read_); }),
        false);
  }

  void AddMissing() {
    CLI::App* missing = Command(app_, "missing", "Show rows whose documents could not be embedded",
                                false, [this](Session& s) { return Missing(s, missing_); });
    AddCollectionName(missing, &missing_.collection);
    missing->add_option("--reason", missing_.reason, "owed, refused or failing; none: all")
        ->check(CLI::IsMember({"owed", "refused", "failing"}));
    CLI::Option* retry = missing->add_flag("--retry", missing_.retry,
                                           "Have those shown embedded again, as they are now");
    missing->add_flag("--drop", missing_.drop, "Give up the vectors of those shown")
        ->excludes(retry);
  }

  void AddFollowing() {
    CLI::App* tail = Command(app_, "tail", "Print the records of the log as JSON lines", false,
                             [this](Session& s) { return Tail(s, tail_); });
    AddCollectionName(tail, &tail_.collection);
    tail->add_option("--from", tail_.from, "earliest, latest, or the SeqId to begin after")
        ->capture_default_str();
    tail->add_flag("-f,--follow", tail_.follow, "Go on with what comes");

    CLI::App* wait = Command(
        app_, "wait", "Wait until records are in segments", false,
        [this](Session& s) { return Wait(s, collection_, seq_id_); }, 600);
    AddCollectionName(wait, &collection_);
    wait->add_option("--seq-id", seq_id_, "Up to here; else up to the tail of now");

    CLI::App* lag = Command(app_, "lag", "Show how far segments are behind the log", false,
                            [this](Session& s) { return Lag(s, collections_); });
    lag->add_option("collections", collections_, "Names or ids; none: all");
  }

  static void AddCollectionName(CLI::App* command, std::string* target) {
    command->add_option("collection", *target, "Name or id")->required();
  }

  void AddReadOptions(CLI::App* command, bool rows = true) {
    AddCollectionName(command, &read_.collection);
    CLI::Option* applied =
        command->add_flag("--applied", read_.applied, "Only what is in segments");
    command
        ->add_option("--at-least", read_.at_least, "After waiting until this SeqId is in segments")
        ->excludes(applied);
    if (rows) command->add_flag("--vectors", read_.vectors, "Show vectors too");
  }

  CLI::App app_;
  Flags flags_;
  Choice choice_;
  CreateArguments create_;
  WriteArguments write_;
  ReadArguments read_;
  MissingArguments missing_;
  TailArguments tail_;
  std::string collection_;
  std::vector<std::string> collections_;
  std::optional<uint64_t> seq_id_;
  bool list_all_ = false;
};

}  // namespace
}  // namespace sluice::ctl

int main(int argc, char** argv) { return sluice::ctl::CommandLine().Run(argc, argv); }
