<?php

declare(strict_types=1);

function plain_function(): string
{
    return 'plain';
}
