# npsteer agent and serve, and the fleet that they are for.

# How a percentage is made is tested without a service.
$(O)/tests/npsteer_health: $(O)/tools/npsteer/health.o
$(O)/tests/npsteer_health.o: OBJ_CFLAGS += -iquote .
