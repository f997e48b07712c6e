#include "runtime/decoder/beam_ranking.h"

#include <stdbool.h>

static bool is_worse(sa2_beam_candidate a, sa2_beam_candidate b)
{
    if (a.score != b.score)
        return a.score < b.score;
    return a.beam != b.beam ? a.beam > b.beam : a.token > b.token;
}

/* Puts `moved` into the heap of n whose place 0 is free. */
static void sink(sa2_beam_candidate *heap, int n, sa2_beam_candidate moved)
{
    int place = 0;
    for (int child = 1; child < n; child = 2 * place + 1) {
        if (child + 1 < n && is_worse(heap[child + 1], heap[child]))
            child++;
        if (!is_worse(heap[child], moved))
            break;
        heap[place] = heap[child];
        place = child;
    }
    heap[place] = moved;
}

static void rise(sa2_beam_candidate *heap, int place, sa2_beam_candidate moved)
{
    for (; place > 0 && is_worse(moved, heap[(place - 1) / 2]); place = (place - 1) / 2)
        heap[place] = heap[(place - 1) / 2];
    heap[place] = moved;
}

void sa2_beam_ranking_add(sa2_beam_ranking *ranking, sa2_beam_candidate candidate)
{
    if (ranking->n < ranking->most)
        rise(ranking->best, ranking->n++, candidate);
    else if (is_worse(ranking->best[0], candidate))
        sink(ranking->best, ranking->n, candidate);
}

void sa2_beam_ranking_sort(sa2_beam_ranking *ranking)
{
    for (int n = ranking->n - 1; n > 0; n--) {
        sa2_beam_candidate last = ranking->best[n];
        ranking->best[n] = ranking->best[0];
        sink(ranking->best, n, last);
    }
}
