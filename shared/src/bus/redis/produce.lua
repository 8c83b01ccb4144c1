return produce()
