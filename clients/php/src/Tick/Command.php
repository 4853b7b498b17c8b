<?php

/**
 * The command line: `sidecar-php tick`, and what is natural to ask afterwards. Exit codes are those of `sidecar`.
 */

declare(strict_types=1);

namespace Sidecar\Tick;

use InvalidArgumentException;
use Sidecar\Exception\ProtocolViolation;
use Sidecar\Msgpack;

final class Command
{
    public const QUEUE = 'SIDECAR_TICK_QUEUE'; // in the environment

    private const OK = 0;
    private const NOT_FOUND = 1;
    private const USAGE = 2;
    private const REFUSED = 111;
    private const HELP = <<<'TEXT'
        Usage: sidecar-php tick [options]      work off what is there, then end; for cron, each minute
               sidecar-php status ID           show one job: where it is, how it ended, its attempts, its output
               sidecar-php list [--limit N]    list jobs, newest first

        For hosts with neither a daemon nor Python. It takes in what pages have spooled, runs what is queued or comes
        due in time, and ends when nothing of that is left, or when the time is over. Then no job is started any more;
        those that run get `--drain` seconds, and are interrupted: the next tick runs them again, which costs no retry.
        So a tick lasts as long as both together, and a job that needs longer never ends: give more seconds, ticks do
        not overlap. One that finds another at work says so and ends. A line on stderr for each attempt and each run.

          --state FOLDER    where the lock, the spool and the queue are; else $SIDECAR_STATE_DIR, else
                            ~/.local/state/sidecar
          --spool FOLDER    the spool, when it is not `spool` in there
          --queue WHERE     a folder (`queue` in there, when not given), or a database for PDO: sqlite:/path/to/file or
                            mysql:host=localhost;dbname=shop;user=shop;password=secret
                            Better in the environment, as SIDECAR_TICK_QUEUE: everybody can see a command line.
          --for SECONDS     how long new jobs are started (50)
          --drain SECONDS   how long those that run then may go on (25)
          --slots N         how many jobs run at a time (2)

        Exit codes: 0 all went well, also when jobs failed or another tick is at work; 1 there is no such job; 2 typed
        wrongly; 111 the system refused, such as a queue that is not writable.

        TEXT;
    private const OPTIONS = [
        'tick' => ['state', 'spool', 'queue', 'for', 'drain', 'slots'],
        'status' => ['state', 'queue'],
        'list' => ['state', 'queue', 'limit'],
    ];

    /**
     * Run what was typed; returns the exit code.
     *
     * @param list<string> $argv without the program
     */
    public static function main(array $argv): int
    {
        if ($argv === [] || array_intersect($argv, ['--help', '-h', 'help'])) {
            fwrite($argv === [] ? STDERR : STDOUT, self::HELP);
            return $argv === [] ? self::USAGE : self::OK;
        }
        try {
            [$verb, $given, $words] = self::parse($argv);
            return match ($verb) {
                'tick' => self::tick($given),
                'status' => self::status($given, $words[0]),
                'list' => self::list($given),
            };
        } catch (InvalidArgumentException $error) {
            Log::say($error->getMessage() . ', see: sidecar-php --help');
            return self::USAGE;
        } catch (QueueError $error) {
            Log::say($error->getMessage());
            return self::REFUSED;
        } catch (\Throwable $error) { // a mistake of ours: in one line, for the log
            Log::say('failed at something that it should have managed: ' . $error);
            return self::REFUSED;
        }
    }

    /** @param array<string, string> $given */
    private static function tick(array $given): int
    {
        $for = self::seconds($given, 'for', 50.0);
        $drain = self::seconds($given, 'drain', 25.0);
        $slots = self::whole($given, 'slots', 2);
        $state = self::state($given);
        $ground = new Ground($state, self::absolute($given['spool'] ?? "{$state}/spool"));
        $who = $ground->lock();
        if ($who !== null) {
            Log::say("left to {$who} which is at work in {$ground->state}");
            return self::OK;
        }
        $queue = self::queue($given, $state);
        $intake = new Intake($ground->spool, $queue, Log::say(...));
        (new Tick($ground, $queue, $intake, Log::say(...), $for, $drain, $slots))->run();
        return self::OK;
    }

    /** @param array<string, string> $given */
    private static function status(array $given, string $id): int
    {
        $digits = strtolower(strtr($id, ['-' => '']));
        if (preg_match('/^[0-9a-f]{4,32}\z/', $digits) !== 1) {
            throw new InvalidArgumentException("cannot look for '{$id}': give an id, or its first four digits or more");
        }
        $found = self::known($given)->find($digits);
        if (count($found) !== 1) {
            Log::say($found === [] ? "no job {$id} is known" : "several jobs begin with {$id}, give more of the id");
            return self::NOT_FOUND;
        }
        echo self::sheet($found[0], microtime(true));
        return self::OK;
    }

    /** @param array<string, string> $given */
    private static function list(array $given): int
    {
        $jobs = self::known($given)->newest(self::whole($given, 'limit', 50));
        foreach ($jobs as $job) {
            $place = str_pad($job->outcome ?? $job->where(microtime(true)), 9);
            $when = date('Y-m-d H:i:s', (int) $job->submitted);
            echo Log::printable("{$job->name()}  {$place}  {$when}  {$job->queue}  {$job->target}"), "\n";
        }
        return self::OK;
    }

    private static function sheet(Entry $job, float $now): string
    {
        $time = static fn (?float $at): ?string => $at === null ? null : date('Y-m-d H:i:s O', (int) $at);
        $why = (new Runtimes())->whyNot($job);
        $rows = [
            'id' => $job->name(), 'state' => $job->where($now), 'outcome' => $job->outcome, 'reason' => $job->reason,
            'target' => $job->target, 'queue' => "{$job->queue}, priority {$job->priority}",
            'submitted' => $time($job->submitted), 'due' => $job->due > $now ? $time($job->due) : null,
            'finished' => $time($job->finished), 'waiting' => $job->state === Entry::WAITING ? $why : null,
            'claimed by' => $job->owner, 'failures' => (string) $job->failures,
            'interruptions' => (string) $job->interruptions, 'result' => self::result($job),
        ];
        foreach ($job->history as $attempt) {
            $how = $attempt['signal'] === null ? "exit status {$attempt['status']}" : "signal {$attempt['signal']}";
            $how = $attempt['status'] === null && $attempt['signal'] === null ? 'end not seen' : $how;
            $error = $attempt['error'] === null ? '' : ", {$attempt['error']['type']}: {$attempt['error']['message']}";
            $rows["attempt {$attempt['number']}"] = "{$attempt['reason']}, {$how}{$error}";
        }
        $sheet = '';
        foreach (array_filter($rows, is_string(...)) as $name => $text) {
            $sheet .= sprintf("%-13s  %s\n", $name, Log::printable($text));
        }
        return $sheet . ($job->output === '' ? '' : "\n{$job->output}");
    }

    private static function result(Entry $job): ?string
    {
        $shown = JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE;
        try {
            return $job->result === null
                ? $job->resultError
                : (string) json_encode(Msgpack::decode($job->result), $shown);
        } catch (ProtocolViolation) { // the job's own bytes, which nobody has looked at
            return 'what it has reported is no msgpack';
        }
    }

    /**
     * @param list<string> $argv
     * @return array{string, array<string, string>, list<string>}
     */
    private static function parse(array $argv): array
    {
        $verb = array_shift($argv);
        if (!isset(self::OPTIONS[$verb])) {
            throw new InvalidArgumentException("cannot {$verb}: known are tick, status and list");
        }
        $given = $words = [];
        while (($word = array_shift($argv)) !== null) {
            if (!str_starts_with($word, '--')) {
                $words[] = $word;
                continue;
            }
            [$name, $value] = explode('=', substr($word, 2), 2) + [1 => null];
            $value ??= array_shift($argv);
            if (!in_array($name, self::OPTIONS[$verb], true) || $value === null) {
                $problem = $value === null ? 'it wants a value' : "{$verb} does not know it";
                throw new InvalidArgumentException("cannot use --{$name}: {$problem}");
            }
            $given[$name] = $value;
        }
        if (count($words) !== ($verb === 'status' ? 1 : 0)) {
            throw new InvalidArgumentException($verb === 'status' ? 'give one id' : "cannot use '{$words[0]}'");
        }
        return [$verb, $given, $words];
    }

    /** @param array<string, string> $given */
    private static function state(array $given): string
    {
        return self::absolute($given['state'] ?? Ground::usual());
    }

    /** @param array<string, string> $given */
    private static function queue(array $given, string $state): Queue
    {
        $named = $given['queue'] ?? (getenv(self::QUEUE) ?: "{$state}/queue");
        return preg_match('/^\w+:/', $named) === 1 ? new PdoQueue($named) : new FolderQueue(self::absolute($named));
    }

    /** @param array<string, string> $given */
    private static function known(array $given): Queue
    {
        $state = self::state($given);
        if (!is_dir($state)) { // else asking would make it, wherever a typing error points
            throw new QueueError("cannot ask: there is no state folder {$state}, give --state or run a tick first");
        }
        return self::queue($given, $state);
    }

    private static function absolute(string $path): string
    {
        return str_starts_with($path, '/') ? $path : getcwd() . "/{$path}";
    }

    /** @param array<string, string> $given */
    private static function seconds(array $given, string $name, float $usual): float
    {
        $value = $given[$name] ?? (string) $usual;
        if (!is_numeric($value) || !is_finite((float) $value) || $value < 0 || ($name === 'for' && $value <= 0)) {
            throw new InvalidArgumentException("cannot use --{$name} {$value}: give seconds");
        }
        return (float) $value;
    }

    /** @param array<string, string> $given */
    private static function whole(array $given, string $name, int $usual): int
    {
        $value = $given[$name] ?? (string) $usual;
        if (preg_match('/^[0-9]{1,4}\z/', $value) !== 1 || (int) $value < 1 || (int) $value > 1000) {
            throw new InvalidArgumentException("cannot use --{$name} {$value}: give a whole number from 1 to 1000");
        }
        return (int) $value;
    }
}
