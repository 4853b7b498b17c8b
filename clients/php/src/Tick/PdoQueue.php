<?php

/**
 * Jobs in a table, by PDO: SQLite, MySQL, MariaDB. What is searched has a column, all else is in the packed record.
 *
 * Each step is one statement. A claim is the UPDATE that finds its job still waiting, as it was when it was read: of
 * two that want it, on whatever hosts, the database lets one have it.
 */

declare(strict_types=1);

namespace Sidecar\Tick;

use Closure;
use PDO;
use PDOException;

final class PdoQueue implements Queue
{
    private const IDLE = 5.0; // seconds without a question, after which MySQL may have hung up: it is asked anew
    private const TABLE = [
        'sqlite' => 'CREATE TABLE IF NOT EXISTS sidecar_job (seq INTEGER PRIMARY KEY AUTOINCREMENT,'
            . ' id TEXT NOT NULL UNIQUE, queue TEXT NOT NULL, priority INTEGER NOT NULL, lane TEXT NOT NULL,'
            . ' state TEXT NOT NULL, outcome TEXT, due REAL NOT NULL, expires REAL, owner TEXT, finished REAL,'
            . ' attempts INTEGER NOT NULL, record BLOB NOT NULL)',
        'mysql' => 'CREATE TABLE IF NOT EXISTS sidecar_job (seq BIGINT PRIMARY KEY AUTO_INCREMENT,'
            . ' id CHAR(32) NOT NULL UNIQUE, queue VARCHAR(64) NOT NULL, priority SMALLINT NOT NULL,'
            . ' lane VARCHAR(16) NOT NULL, state VARCHAR(9) NOT NULL, outcome VARCHAR(9), due DOUBLE NOT NULL,'
            . ' expires DOUBLE, owner VARCHAR(64), finished DOUBLE, attempts INTEGER NOT NULL,'
            . ' record LONGBLOB NOT NULL, KEY sidecar_job_state (state, due))'
            . ' ENGINE=InnoDB CHARACTER SET ascii COLLATE ascii_bin',
    ];
    private const INDEX = 'CREATE INDEX IF NOT EXISTS sidecar_job_state ON sidecar_job (state, due)'; // SQLite's
    private const NO_NEWS = ['sqlite' => 'ON CONFLICT (id) DO NOTHING', 'mysql' => 'ON DUPLICATE KEY UPDATE id = id'];
    private const IF_STILL_THERE = "state = 'waiting' AND attempts = :before";
    private const CHANGING = ['state', 'outcome', 'due', 'expires', 'owner', 'finished', 'attempts', 'record'];
    private const TRIES = 4;
    private const BESIDE = 64 * 1024; // bytes of a packet for what is no record, and for attempts that it will tell of
    private const GONE = [2006, 2013]; // MySQL's errors: the connection is no more; who knows how far it had come
    private const UNDONE = [1205, 1213]; // two were in each other's way, and of ours nothing was done

    private readonly string $dialect;
    private ?PDO $open = null;
    private float $asked = 0.0;
    private ?int $most = null; // bytes that MySQL takes at a time

    /** @throws QueueError when the database cannot be used */
    public function __construct(private readonly string $dsn)
    {
        $this->dialect = strtolower(strstr($dsn, ':', true) ?: '');
        if (!isset(self::TABLE[$this->dialect])) {
            throw new QueueError("cannot use queue: no table can be kept in {$this->dialect}, give sqlite: or mysql:");
        }
        if (!extension_loaded("pdo_{$this->dialect}")) {
            throw new QueueError(
                "cannot use queue: this php has no pdo_{$this->dialect}, enable it or give a folder for the queue"
            );
        }
        $this->ask($this->makeTable(...));
    }

    public function insert(Entry $job): bool
    {
        return $this->ask(function (PDO $database) use ($job): bool {
            $size = strlen($job->pack());
            if ($size > $this->most($database) - self::BESIDE) {
                throw new TooLarge("is {$size} bytes, over the database's max_allowed_packet; raise that");
            }
            $names = ['id', 'queue', 'priority', 'lane', ...self::CHANGING];
            $columns = implode(', ', $names);
            $values = ':' . implode(', :', $names);
            $sql = "INSERT INTO sidecar_job ({$columns}) VALUES ({$values}) " . self::NO_NEWS[$this->dialect];
            return $this->run($database, $sql, [
                'id' => bin2hex($job->id), 'queue' => $job->queue, 'priority' => $job->priority,
                'lane' => $job->lane(), ...self::changing($job),
            ])->rowCount() === 1;
        });
    }

    public function claim(float $now, string $owner, string $after, array $shut): ?Entry
    {
        // Not twice where the connection breaks: what was claimed by then, the next tick finds as ours.
        return $this->ask(function (PDO $database) use ($now, $owner, $after, $shut): ?Entry {
            while (($job = $this->next($database, $now, $after, $shut)) !== null) {
                $before = $job->attempts;
                $job->take($owner);
                if ($this->update($database, $job, self::IF_STILL_THERE, ['before' => $before]) === 1) {
                    return $job;
                }
            }
            return null;
        }, false);
    }

    public function record(Entry $job): void
    {
        $this->ask(function (PDO $database) use ($job): void {
            if (strlen($job->pack()) > $this->most($database) - self::BESIDE / 2) {
                $job->shrink();
            }
            $this->update($database, $job, "state = 'running'", []);
        });
    }

    public function claimed(string $owner): array
    {
        return $this->jobs("state = 'running' AND owner = :owner ORDER BY seq", ['owner' => $owner]);
    }

    public function nextDue(array $shut): ?float
    {
        return $this->ask(function (PDO $database) use ($shut): ?float {
            [$open, $given] = self::open($shut);
            $first = 'CASE WHEN expires < due THEN expires ELSE due END';
            $sql = "SELECT MIN({$first}) FROM sidecar_job WHERE state = 'waiting'{$open}";
            $found = $this->run($database, $sql, $given)->fetchColumn();
            return $found === null || $found === false ? null : (float) $found;
        });
    }

    public function left(float $now): array
    {
        return $this->ask(function (PDO $database) use ($now): array {
            $where = "CASE WHEN state = 'running' THEN 'running' WHEN due > :now THEN 'scheduled' ELSE 'queued' END";
            $sql = "SELECT {$where} AS place, COUNT(*) FROM sidecar_job WHERE state <> 'done' GROUP BY 1";
            $rows = $this->run($database, $sql, ['now' => $now])->fetchAll(PDO::FETCH_KEY_PAIR);
            return array_filter(array_map(intval(...), [...self::PLACES, ...$rows]));
        });
    }

    public function find(string $digits): array
    {
        return $this->jobs('id LIKE :digits LIMIT 2', ['digits' => "{$digits}%"]);
    }

    public function newest(int $most): array
    {
        return $this->jobs("1 = 1 ORDER BY seq DESC LIMIT {$most}", []);
    }

    public function forget(float $succeeded, float $others): void
    {
        $this->ask(fn (PDO $database) => $this->run(
            $database,
            "DELETE FROM sidecar_job WHERE state = 'done'"
            . " AND finished < CASE WHEN outcome = 'succeeded' THEN :succeeded ELSE :others END",
            ['succeeded' => $succeeded, 'others' => $others]
        ));
    }

    /** @param list<string> $shut */
    private function next(PDO $database, float $now, string $after, array $shut): ?Entry
    {
        [$open, $given] = self::open($shut);
        $sql = "SELECT id, record FROM sidecar_job WHERE state = 'waiting' AND (due <= :now OR expires <= :then){$open}"
            . ' ORDER BY priority DESC, CASE WHEN queue > :after THEN 0 ELSE 1 END, queue, due, seq LIMIT 1';
        $given += ['now' => $now, 'then' => $now, 'after' => $after];
        $row = $this->row($database, $sql, $given);
        $job = $row === null ? null : self::unpacked($row['record']);
        if ($row === null || $job !== null) {
            return $job;
        }
        $sql = "UPDATE sidecar_job SET state = 'done', outcome = 'failed', finished = :now WHERE id = :id";
        $this->run($database, $sql, ['now' => $now, 'id' => $row['id']]); // else it would stand before all others
        return $this->next($database, $now, $after, $shut);
    }

    /**
     * @param array<string, mixed> $given
     * @return array<string, mixed>|null
     */
    private function row(PDO $database, string $sql, array $given): ?array
    {
        $found = $this->run($database, $sql, $given);
        $row = $found->fetch(PDO::FETCH_ASSOC);
        $found->closeCursor(); // else SQLite would still hold what the claim wants to write
        return $row === false ? null : $row;
    }

    /** Return a job; null: its record is damaged. */
    private static function unpacked(string $packed): ?Entry
    {
        try {
            return Entry::unpack($packed);
        } catch (\Throwable) {
            return null;
        }
    }

    /** @param array<string, mixed> $given */
    private function update(PDO $database, Entry $job, string $if, array $given): int
    {
        $set = implode(', ', array_map(static fn (string $name): string => "{$name} = :{$name}", self::CHANGING));
        $given += ['id' => bin2hex($job->id), ...self::changing($job)];
        return $this->run($database, "UPDATE sidecar_job SET {$set} WHERE id = :id AND {$if}", $given)->rowCount();
    }

    /**
     * @param list<string> $shut
     * @return array{string, array<string, string>}
     */
    private static function open(array $shut): array
    {
        $given = [];
        foreach ($shut as $number => $lane) {
            $given["lane{$number}"] = $lane;
        }
        return [$shut === [] ? '' : ' AND lane NOT IN (:' . implode(', :', array_keys($given)) . ')', $given];
    }

    /** @return array<string, mixed> */
    private static function changing(Entry $job): array
    {
        return [
            'state' => $job->state, 'outcome' => $job->outcome, 'due' => $job->due, 'expires' => $job->mustStart(),
            'owner' => $job->owner, 'finished' => $job->finished, 'attempts' => $job->attempts,
            'record' => $job->pack(),
        ];
    }

    /**
     * @param array<string, mixed> $given
     * @return list<Entry>
     */
    private function jobs(string $which, array $given): array
    {
        return $this->ask(function (PDO $database) use ($which, $given): array {
            $sql = "SELECT record FROM sidecar_job WHERE {$which}";
            $records = $this->run($database, $sql, $given)->fetchAll(PDO::FETCH_COLUMN);
            return array_values(array_filter(array_map(self::unpacked(...), $records)));
        });
    }

    /** @param array<string, mixed> $given */
    private function run(PDO $database, string $sql, array $given): \PDOStatement
    {
        $statement = $database->prepare($sql);
        foreach ($given as $name => $value) {
            $type = match (true) {
                $value === null => PDO::PARAM_NULL,
                is_int($value) => PDO::PARAM_INT,
                str_ends_with($name, 'record') => PDO::PARAM_LOB,
                default => PDO::PARAM_STR,
            };
            // PDO has no type for floats; the columns that they meet are numbers, and make them numbers again.
            $statement->bindValue($name, is_float($value) ? sprintf('%.6F', $value) : $value, $type);
        }
        $statement->execute();
        return $statement;
    }

    /** Do something with the database; `$again`: also a second time, where MySQL has hung up in the middle. */
    private function ask(Closure $what, bool $again = true): mixed
    {
        for ($tries = 1;; $tries++) {
            try {
                return $what($this->database());
            } catch (PDOException $error) {
                $code = $error->errorInfo[1] ?? 0;
                $isGone = $again && in_array($code, self::GONE, true);
                if ($tries === self::TRIES || (!$isGone && !in_array($code, self::UNDONE, true))) {
                    throw new QueueError("cannot use queue {$this->place()}: {$error->getMessage()}", 0, $error);
                }
                $this->open = null;
            } finally {
                $this->asked = hrtime(true) / 1e9;
            }
        }
    }

    private function database(): PDO
    {
        if ($this->open === null || hrtime(true) / 1e9 - $this->asked > self::IDLE) {
            $this->open = null;
            $this->open = new PDO($this->dsn, null, null, [
                PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
                PDO::ATTR_EMULATE_PREPARES => false, // what is packed is bytes, in no character set
                PDO::ATTR_STRINGIFY_FETCHES => false,
                PDO::ATTR_TIMEOUT => 30,
            ]);
        }
        return $this->open;
    }

    private function most(PDO $database): int
    {
        return $this->most ??= $this->dialect === 'mysql'
            ? (int) $database->query('SELECT @@max_allowed_packet')->fetchColumn()
            : PHP_INT_MAX;
    }

    private function makeTable(PDO $database): void
    {
        try {
            $database->query('SELECT 1 FROM sidecar_job WHERE 1 = 0')->closeCursor();
        } catch (PDOException) { // looked at first: a user who may not make tables may use one that is there
            $database->exec(self::TABLE[$this->dialect]);
            $this->dialect === 'sqlite' && $database->exec(self::INDEX);
        }
    }

    /** The address, without what is secret. */
    private function place(): string
    {
        return preg_replace('/;?(user|password)=[^;]*/', '', $this->dsn);
    }
}
