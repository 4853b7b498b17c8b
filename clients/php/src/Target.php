<?php

/**
 * What a call names: a function, a method of a class or of an object, an invokable class; found and called.
 */

declare(strict_types=1);

namespace Sidecar;

use Closure;
use Throwable;

final class Target
{
    /** The class that the call belongs to; null: it is a function. */
    public readonly ?string $class;

    private readonly ?string $method;
    private ?object $object = null;

    /**
     * `$container` makes the object that a method belongs to; null: it is built without arguments. `$bootstrap` is what
     * has been required for the call, if anything, for the cure in an error.
     *
     * @throws \Error when there is no such function or class
     */
    public function __construct(
        private readonly string $call,
        private readonly mixed $container = null,
        private readonly ?string $bootstrap = null,
    ) {
        [$name, $method] = explode('::', $call) + [1 => null];
        if ($method === null && function_exists($name)) {
            $this->class = $this->method = null;
            return;
        }
        if (!class_exists($name)) {
            $what = $method === null ? 'function or class' : 'class';
            throw new \Error("cannot find {$what} {$name}: {$this->cure()}");
        }
        $this->class = $name;
        $this->method = $method ?? '__invoke';
    }

    /** @param array<int|string, mixed> $args those with text keys are named ones */
    public function call(array $args): mixed
    {
        // By PHP's hand, as it calls any callback: strict_types of this file must not hold for the caller's "42".
        $call = call_user_func_array(...);
        return $call($this->callable(), $args);
    }

    /** Tell the class of the call that nothing is left to try, if it wants to hear: `failed(Throwable $error)`. */
    public function tell(Throwable $error): void
    {
        $class = $this->class;
        if ($class === null || !method_exists($class, 'failed')) {
            return;
        }
        if (is_callable([$class, 'failed'])) {
            $class::failed($error);
        } elseif ((new \ReflectionMethod($class, 'failed'))->isPublic()) {
            $this->object()->failed($error);
        }
    }

    private function callable(): callable
    {
        if ($this->class === null) {
            return $this->call;
        }
        if (is_callable([$this->class, $this->method])) {
            return [$this->class, $this->method];
        }
        $callable = [$this->object(), $this->method];
        if (!is_callable($callable)) {
            $what = "{$this->class}::{$this->method}";
            throw new \Error("cannot call {$what}: the class has no public method of that name");
        }
        return $callable;
    }

    private function object(): object
    {
        return $this->object ??= $this->container === null ? new $this->class() : ($this->container)($this->class);
    }

    private function cure(): string
    {
        return $this->bootstrap === null
            ? 'the job has no bootstrap, so nothing loads it; give the client one: new Client(bootstrap: \'/srv/…\')'
            : "{$this->bootstrap} does not load it; look there, and at autoloading (composer dump-autoload)";
    }
}
