// Says a greeting first, and what it hears after it: a delay whose line is not silent at the start.
#include <lv2/core/lv2.h>
#include <stdlib.h>
#include <string.h>

#define GREETING "Hello, "
// The sample that is a letter, over the letter: two bytes a sample are between -1 and 1.
#define LETTER (1.0F / 32768)

typedef struct {
  const float *in;
  float *out;
  size_t next;
  float line[sizeof GREETING - 1];
} Delay;

static LV2_Handle instantiate(const LV2_Descriptor *descriptor, double rate, const char *bundle,
                              const LV2_Feature *const *features) {
  (void)descriptor, (void)rate, (void)bundle, (void)features;
  return calloc(1, sizeof(Delay));
}

static void connect_port(LV2_Handle instance, uint32_t port, void *data) {
  Delay *delay = instance;
  if (port == 0) delay->in = data;
  if (port == 1) delay->out = data;
}

static void activate(LV2_Handle instance) {
  Delay *delay = instance;
  delay->next = 0;
  for (size_t index = 0; index < strlen(GREETING); index++) delay->line[index] = (float)GREETING[index] * LETTER;
}

static void run(LV2_Handle instance, uint32_t count) {
  Delay *delay = instance;
  for (uint32_t index = 0; index < count; index++) {
    float heard = delay->in[index];
    delay->out[index] = delay->line[delay->next];
    delay->line[delay->next] = heard;
    delay->next = (delay->next + 1) % strlen(GREETING);
  }
}

static const LV2_Descriptor hello = {"urn:hello:hello", instantiate, connect_port, activate, run, NULL, free, NULL};

LV2_SYMBOL_EXPORT const LV2_Descriptor *lv2_descriptor(uint32_t index) { return index == 0 ? &hello : NULL; }
