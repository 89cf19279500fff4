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
  4  no such collection, cursor or backup
  5  unavailable, overloaded or out of time, and nothing of the failed call is in
  6  damage was found: something that is stored cannot be read, or does not agree)";

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
                    "Address of the log, if it is another (clock, cursors, describe, follow, lag, "
                    "tail, verify)")
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
    AddCursors();
    AddBackups();
    AddVerify();
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
    create->add_flag("--log-only", create_.log_only,
                     "A log for subscribers and nothing else: no segments, no queries");
    AddSettings(create, &create_.settings);

    CLI::App* update =
        Command(group, "update", "Change settings; those not given stay as they are", true,
                [this](Session& s) { return UpdateCollection(s, collection_, create_.settings); });
    AddCollectionName(update, &collection_);
    AddSettings(update, &create_.settings);

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

  static void AddSettings(CLI::App* command, SettingsArguments* settings) {
    command->add_option("--max-bytes", settings->max_bytes, "Compact at so many unapplied bytes");
    command->add_option("--max-age-ms", settings->max_age_ms, "Compact at this age");
    command->add_option("--max-backlog-bytes", settings->max_backlog_bytes,
                        "Refuse writes beyond so many unapplied bytes");
    command->add_option("--retain-ms", settings->retain_ms,
                        "Trim what all cursors have passed at this age (0: the default)");
    command->add_option("--retain-bytes", settings->retain_bytes,
                        "Or where it is more than so many bytes (0: the default)");
    command->add_option("--erase-within-ms", settings->erase_within_ms,
                        "Have what is deleted or replaced gone from all files so soon (0: any "
                        "time)");
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
    AddTailOptions(tail);
    tail->add_flag("-f,--follow", tail_.follow, "Go on with what comes");
    CLI::App* follow =
        Command(app_, "follow", "As tail, going on with what comes", false, [this](Session& s) {
          tail_.follow = true;
          return Tail(s, tail_);
        });
    AddTailOptions(follow);

    CLI::App* wait = Command(
        app_, "wait", "Wait until records are in segments", false,
        [this](Session& s) { return Wait(s, collection_, seq_id_); }, 600);
    AddCollectionName(wait, &collection_);
    wait->add_option("--seq-id", seq_id_, "Up to here; else up to the tail of now");

    CLI::App* lag = Command(app_, "lag", "Show how far segments are behind the log", false,
                            [this](Session& s) { return Lag(s, collections_); });
    lag->add_option("collections", collections_, "Names or ids; none: all");

    CLI::App* clock = Command(app_, "clock", "Show the clocks that the log goes by", false,
                              [this](Session& s) { return Clock(s, correct_clock_); });
    clock->add_flag("--correct", correct_clock_,
                    "Go by the machine's clock as it is now, after that was set right");
  }

  void AddCursors() {
    CLI::App& group = *app_.add_subcommand("cursors", "Positions of consumers in a log");
    group.require_subcommand(1);
    group.fallthrough();

    CLI::App* list = Command(group, "list", "List a log's cursors", false,
                             [this](Session& s) { return ListCursors(s, cursor_.collection); });
    AddCollectionName(list, &cursor_.collection);
    AddCursorName(Command(group, "get", "Show a cursor", false,
                          [this](Session& s) { return GetCursor(s, cursor_); }));
    CLI::App* commit = Command(group, "commit", "Move a cursor forward, or make one", true,
                               [this](Session& s) { return CommitCursor(s, cursor_); });
    AddCursorName(commit);
    AddSeqId(commit);
    commit->add_option("--expected", cursor_.expected,
                       "Only if it stands at this SeqId; 0: or is not there");
    CLI::App* rollback = Command(group, "rollback", "Move a cursor back, or a lost one to anywhere",
                                 true, [this](Session& s) { return RollbackCursor(s, cursor_); });
    AddCursorName(rollback);
    AddSeqId(rollback);
    AddCursorName(Command(group, "delete", "Delete a cursor: it holds nothing any more", true,
                          [this](Session& s) { return DeleteCursor(s, cursor_); }));
  }

  void AddCursorName(CLI::App* command) {
    AddCollectionName(command, &cursor_.collection);
    command->add_option("cursor", cursor_.name, "Its name")->required();
  }

  void AddSeqId(CLI::App* command) {
    command->add_option("seq_id", cursor_.seq_id, "The last SeqId dealt with")->required();
  }

  void AddTailOptions(CLI::App* command) {
    AddCollectionName(command, &tail_.collection);
    command->add_option("--from", tail_.from, "earliest, latest, or the SeqId to begin after")
        ->capture_default_str();
    command->add_option("--cursor", tail_.cursor,
                        "Begin at this cursor, and move it after what was printed; made at --from "
                        "if it is not there");
  }

  void AddBackups() {
    constexpr double kDay = 24 * 60 * 60;
    CLI::App& group = *app_.add_subcommand(
        "backup", "Backups of the log, in the folder of its setting log.backup.folder");
    group.require_subcommand(1);
    group.fallthrough();
    Command(
        group, "create", "Make a backup, while writes go on, and verify it", true,
        [](Session& s) { return ctl::CreateBackup(s); }, kDay);
    Command(group, "list", "List backups, and pins without a backup", false,
            [](Session& s) { return ctl::ListBackups(s); });
    CLI::App* verify = Command(
        group, "verify", "Read a backup, compare checksums, open it", false,
        [this](Session& s) { return ctl::VerifyBackup(s, backup_id_); }, kDay);
    verify->add_option("backup", backup_id_, "Its number")->required();
    CLI::App* remove = Command(
        group, "delete", "Delete a backup, or a pin without one", true,
        [this](Session& s) { return ctl::DeleteBackup(s, backup_id_, pin_); }, kDay);
    CLI::Option_group* what = remove->add_option_group("what");
    what->add_option("backup", backup_id_, "Its number");
    what->add_option("--pin", pin_, "Of a backup that failed: its pin");
    what->require_option(1);
    CLI::App* purge = Command(
        group, "purge", "Delete the log's oldest backups", true,
        [this](Session& s) { return ctl::PurgeBackups(s, keep_); }, kDay);
    purge->add_option("--keep", keep_, "So many stay")->required()->check(CLI::PositiveNumber);

    CLI::App* restore = Command(app_, "restore", "Make a new log of a backup, on this machine",
                                false, [this](Session& s) { return RestoreBackup(s, restore_); });
    restore->add_option("--from", restore_.from, "The folder of backups")->required();
    restore->add_option("--backup", restore_.backup_id, "Its number; else the newest");
    restore->add_option("--data", restore_.data, "Folder of the new log: its setting log.data")
        ->required();
  }

  void AddVerify() {
    constexpr double kMonth = 30 * 24 * 60 * 60;
    CLI::App* verify = Command(
        app_, "verify", "Read all of a log, and say what is damaged", false,
        [this](Session& s) { return ctl::Verify(s, verify_); }, kMonth);
    CLI::Option* data = verify->add_option(
        "--data", verify_.data,
        "The folder of a log that does not run (its setting log.data), on this machine; else the "
        "log that runs at --server");
    verify
        ->add_option("--rate", verify_.rate,
                     "Bytes to read in a second, as in 64MiB; the default is that of a log that "
                     "runs, and no limit of a folder")
        ->transform(CLI::AsSizeValue(false));
    verify->add_flag("--apart", verify_.apart)->needs(data)->group("");
    verify->add_option("--after-step", verify_.after_step)->needs(data)->group("");
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
  CursorArguments cursor_;
  std::string collection_;
  std::vector<std::string> collections_;
  std::optional<uint64_t> seq_id_;
  uint32_t backup_id_ = 0;
  uint64_t pin_ = 0;
  uint32_t keep_ = 0;
  RestoreArguments restore_;
  VerifyArguments verify_;
  bool list_all_ = false;
  bool correct_clock_ = false;
};

}  // namespace
}  // namespace sluice::ctl

int main(int argc, char** argv) { return sluice::ctl::CommandLine().Run(argc, argv); }
