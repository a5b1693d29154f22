// Makes small letters large ones, which is louder as text.
#include <ctype.h>
#include <lv2/core/lv2.h>
#include <stdlib.h>

// The sample that is a letter, over the letter: two bytes a sample are between -1 and 1.
#define LETTER (1.0F / 32768)

typedef struct {
  const float *in;
  float *out;
} Ports;

static LV2_Handle instantiate(const LV2_Descriptor *descriptor, double rate, const char *bundle,
                              const LV2_Feature *const *features) {
  (void)descriptor, (void)rate, (void)bundle, (void)features;
  return calloc(1, sizeof(Ports));
}

static void connect_port(LV2_Handle instance, uint32_t port, void *data) {
  Ports *ports = instance;
  if (port == 0) ports->in = data;
  if (port == 1) ports->out = data;
}

static void run(LV2_Handle instance, uint32_t count) {
  Ports *ports = instance;
  for (uint32_t index = 0; index < count; index++) {
    float heard = ports->in[index];
    ports->out[index] = heard > 0 ? (float)toupper((int)(heard / LETTER)) * LETTER : heard;
  }
}

static const LV2_Descriptor louder = {"urn:hello:louder", instantiate, connect_port, NULL, run, NULL, free, NULL};

LV2_SYMBOL_EXPORT const LV2_Descriptor *lv2_descriptor(uint32_t index) { return index == 0 ? &louder : NULL; }
