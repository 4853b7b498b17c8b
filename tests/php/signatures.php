<?php

/**
 * Declares what a framework declares, by a table of its signatures, and has PHP hold our bridge against it. The table is
 * JSON on stdin; on stdout is what is wrong, a line each, as JSON: what PHP would die of stands in its own message.
 */

declare(strict_types=1);

require __DIR__ . '/../../clients/php/autoload.php';

$table = json_decode((string) stream_get_contents(STDIN), true, 512, JSON_THROW_ON_ERROR);
foreach ($table['declared'] as $head => $members) {
    preg_match('/^([a-z ]+) (\S+)\\\\(\w+)(.*)$/', $head, $parts);
    [, $kind, $namespace, $name, $more] = $parts;
    $code = "namespace {$namespace}; {$kind} {$name}{$more} {\n";
    foreach ($members as $member) {
        $hasBody = $kind !== 'interface' && str_contains($member, 'function') && !str_starts_with($member, 'abstract');
        $code .= $member . ($hasBody ? " { throw new \\LogicException('a signature alone'); }\n" : ";\n");
    }
    eval("{$code}}");
}

$wrong = [];
foreach ($table['implemented'] as $class) {
    if (!(new ReflectionClass($class))->isInstantiable()) {
        $wrong[] = "{$class} leaves something abstract";
    }
}
foreach ($table['called'] as $method => $given) {
    [$class, $name] = explode('::', $method);
    $reflected = new ReflectionClass($class);
    if (!$reflected->hasMethod($name)) {
        if ($name !== '__construct' || $given !== 0) {
            $wrong[] = "{$method} is not there";
        }
        continue;
    }
    $parameters = $reflected->getMethod($name)->getParameters();
    $names = array_map(static fn (ReflectionParameter $one): string => $one->getName(), $parameters);
    $needed = array_filter($parameters, static fn (ReflectionParameter $one): bool => !$one->isOptional());
    if (is_array($given)) { // by name
        $missing = array_diff($given, $names);
        $count = count($given);
    } else {
        $missing = [];
        $isVariadic = $parameters !== [] && end($parameters)->isVariadic();
        $count = $isVariadic ? count($parameters) : $given;
    }
    if ($missing !== [] || $count < count($needed) || $count > count($parameters)) {
        $wrong[] = "{$method} takes (" . implode(', ', $names) . '), we give ' . json_encode($given);
    }
}
echo json_encode($wrong, JSON_THROW_ON_ERROR);
