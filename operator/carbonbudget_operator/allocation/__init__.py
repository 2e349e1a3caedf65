"""Allocation: facts to rows. Who bears idle and overhead, as a pure function of a policy, exactly."""
