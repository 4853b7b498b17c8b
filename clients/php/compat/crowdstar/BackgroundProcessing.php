<?php

declare(strict_types=1);

namespace CrowdStar\BackgroundProcessing;

use Closure;
use CrowdStar\BackgroundProcessing\Exception\AlreadyInvokedException;
use CrowdStar\BackgroundProcessing\Exception\BackgroundProcessingFailedException;
use CrowdStar\BackgroundProcessing\Timer\AbstractTimer;
use Sidecar\Client;
use Sidecar\Response;
use Throwable;

/**
 * Work after the response: closures in this process, names in the daemon.
 */
class BackgroundProcessing
{
    /** The first closure that throws is the last that runs; what it threw is thrown as it is. */
    public const EXECUTION_TYPE_STOP_ON_ERROR = 0;
    /** All closures run; then what they threw is thrown together. */
    public const EXECUTION_TYPE_CONTINUE_ON_ERROR = 1;

    /** @var list<Closure> */
    protected static $closures = [];
    /** @var list<AbstractTimer> */
    protected static $timers = [];
    /** @var bool */
    protected static $invoked = false;
    /** @var int */
    protected static $executionType = self::EXECUTION_TYPE_STOP_ON_ERROR;
    /** @var list<array{string, array<int|string, mixed>}> calls for the daemon, by name */
    protected static $calls = [];
    /** @var Client|null */
    protected static $client = null;

    /**
     * Run a closure after the response; `$op` as "Acme\Mail::send" or a function's name is a job for the daemon.
     *
     * @param mixed ...$params its arguments
     */
    public static function add(Closure|string $op, mixed ...$params): void
    {
        if (is_string($op)) {
            self::$calls[] = [$op, $params];
            return;
        }
        self::$closures[] = static fn (): mixed => $op(...$params);
    }

    /** Hand names over by this client, such as one with a bootstrap; without one, by a client of no options. */
    public static function setClient(Client $client): void
    {
        self::$client = $client;
    }

    /** Have a timer stopped before the work begins, if `run` is asked to. */
    public static function addTimer(AbstractTimer $timer): void
    {
        self::$timers[] = $timer;
    }

    /** Say what an exception does to the closures after it: one of the two constants. */
    public static function setExecutionType(int $executionType): void
    {
        self::$executionType = $executionType;
    }

    public static function getExecutionType(): int
    {
        return self::$executionType;
    }

    /**
     * Close the session, end the response, hand the names to the daemon in one write, and run the closures.
     *
     * @throws AlreadyInvokedException the second time
     * @throws BackgroundProcessingFailedException|Throwable what the closures threw, as the execution type says
     */
    public static function run(bool $stopTiming = false): void
    {
        if (self::$invoked) {
            throw new AlreadyInvokedException('background process invoked already');
        }
        self::$invoked = true;
        Response::finish();
        if ($stopTiming) {
            foreach (self::$timers as $timer) {
                $timer->stopTiming();
            }
        }
        $thrown = self::attempt(static fn () => self::handOff());
        foreach (self::$closures as $closure) {
            $thrown = [...$thrown, ...self::attempt($closure)];
        }
        if ($thrown !== []) {
            throw new BackgroundProcessingFailedException($thrown);
        }
    }

    /** @return list<Throwable> */
    private static function attempt(Closure $work): array
    {
        try {
            $work();
        } catch (Throwable $error) {
            if (self::$executionType === self::EXECUTION_TYPE_STOP_ON_ERROR) {
                throw $error;
            }
            return [$error];
        }
        return [];
    }

    private static function handOff(): void
    {
        if (self::$calls !== []) {
            (self::$client ?? new Client())->submitAll(self::$calls);
        }
    }
}
