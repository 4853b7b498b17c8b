<?php

declare(strict_types=1);

namespace App\Http\Controllers;

use App\Jobs\SendReceipt;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\DB;

/**
 * POST /orders: answered when the order is stored. The receipt is handed off by the commit, and by nothing else.
 */
final class OrderController
{
    public function __invoke(Request $request): JsonResponse
    {
        $order = DB::transaction(static function () use ($request): int {
            $order = DB::table('orders')->insertGetId(['email' => (string) $request->input('email')]);
            SendReceipt::dispatch($order);
            return $order;
        });
        return new JsonResponse(['order' => $order], 201);
    }
}
