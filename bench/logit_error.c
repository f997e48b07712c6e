#include "bench/logit_error.h"

#include <math.h>

typedef struct summary {
    int64_t best;
    double most, second; /* logits of the two best */
    double log_sum;      /* ln of the sum of e^logit */
} summary;

static summary summarise(const float *logits, int64_t n)
{
    summary s = {.most = -INFINITY, .second = -INFINITY};
    for (int64_t i = 0; i < n; i++) {
        double x = (double)logits[i];
        if (x > s.most) {
            s.second = s.most;
            s.most = x;
            s.best = i;
        } else if (x > s.second) {
            s.second = x;
        }
    }
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - s.most);
    s.log_sum = s.most + log(sum);
    return s;
}

void sa2_logit_error_add(sa2_logit_error *e, const float *reference, const float *found, int64_t n)
{
    summary a = summarise(reference, n), b = summarise(found, n);
    double kl = 0.0, sum = 0.0, squares = 0.0;
    for (int64_t i = 0; i < n; i++) {
        double p = (double)reference[i] - a.log_sum, q = (double)found[i] - b.log_sum;
        double off = (double)found[i] - (double)reference[i];
        kl += exp(p) * (p - q);
        sum += off;
        squares += off * off;
    }
    double variance = squares / (double)n - sum / (double)n * (sum / (double)n);
    variance = variance > 0.0 ? variance : 0.0;
    double noise = 2.0 * sqrt(2.0 * variance);
    e->positions++;
    e->kl_sum += kl;
    e->kl_most = fmax(e->kl_most, kl);
    e->squares += variance;
    e->same += a.best == b.best;
    if (a.most - a.second > noise) {
        e->clear++;
        e->same_clear += a.best == b.best;
    }
}
